# The daemon alone: no torch, no compiler, no pip. `make image` builds it with docker or buildah.
# Behind a mirror of PyPI: `--secret id=pip.conf,src=/etc/pip.conf`, and `id=ca.pem` for whom to trust.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY detector detector
COPY training training
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.pem,target=/etc/pip.pem \
    if [ -s /etc/pip.pem ]; then export PIP_CERT=/etc/pip.pem; fi \
    && python3 -m venv /opt/detector \
    && /opt/detector/bin/pip install --no-cache-dir --prefer-binary '.[avro,signed]' \
    && /opt/detector/bin/pip uninstall --yes --quiet pip setuptools \
    && rm -r /opt/detector/lib/python3*/site-packages/training /opt/detector/bin/training \
    && rm -r /opt/detector/lib/python3*/site-packages/onnxruntime/transformers \
    && find /opt/detector/lib -type d -name tests -prune -exec rm -r {} +

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sensor-anomaly-detector" \
      org.opencontainers.image.description="Hears in Kafka when a machine behaves unlike itself" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/detector /opt/detector
# It writes nothing: run it with a read-only root (docker run --read-only).
ENV DETECTOR_MODEL=/etc/detector/model/model.onnx \
    DETECTOR_HTTP__HOST=0.0.0.0 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /
# A number: Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 9108
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=28 \
    CMD ["/opt/detector/bin/python", "-c", "import ssl; from os import environ as e; from urllib.request import urlopen; s = 's' * ('DETECTOR_HTTP__CERTFILE' in e); urlopen('http' + s + '://127.0.0.1:' + e.get('DETECTOR_HTTP__PORT', '9108') + '/livez', timeout=4, context=ssl._create_unverified_context())"]
ENTRYPOINT ["/opt/detector/bin/detector"]
CMD ["run"]
