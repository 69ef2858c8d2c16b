# The daemon alone: no torch, no pyarrow.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY detector detector
COPY training training
RUN python -m venv /opt/detector && /opt/detector/bin/pip install --no-cache-dir .

FROM python:3.11-slim
COPY --from=build /opt/detector /opt/detector
USER 65532:65532
ENV DETECTOR_HTTP__HOST=0.0.0.0
EXPOSE 9108
ENTRYPOINT ["/opt/detector/bin/detector"]
CMD ["run"]
