# The demo of compose.yaml: trains on simulated pumps, then plays others. With torch, for the CPU.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
FROM ${PYTHON_IMAGE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY detector detector
COPY training training
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.pem,target=/etc/pip.pem \
    if [ -s /etc/pip.pem ]; then export PIP_CERT=/etc/pip.pem; fi \
    && python3 -m venv /opt/demo \
    && /opt/demo/bin/pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" \
        torch==2.13.0 '.[demo]' \
    && install --directory --owner=65532 --group=65532 /model
ENV MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /model
USER 65532:65532
VOLUME /model
ENTRYPOINT ["/opt/demo/bin/python", "-m"]
CMD ["training.demo.live"]
