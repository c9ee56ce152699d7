# The gateway as it runs in production: what requirements.lock names and the gateway itself, without the emulator and the development tools.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/cbr-gateway
COPY requirements.lock requirements-build.lock ./
RUN /opt/cbr-gateway/bin/pip install --no-cache-dir --require-hashes -r requirements.lock \
    && pip install --no-cache-dir --require-hashes -r requirements-build.lock
COPY generated generated
COPY clients/service_config.json clients/service_config.json
COPY clients/python clients/python
COPY pyproject.toml README.md ./
COPY gateway gateway
RUN python -m hatchling build -t wheel -d dist
WORKDIR /src/clients/python
RUN python -m hatchling build -t wheel -d /src/dist \
    && /opt/cbr-gateway/bin/pip install --no-cache-dir --no-deps --no-index /src/dist/*.whl

FROM python:3.11-slim-bookworm
COPY --from=build /opt/cbr-gateway /opt/cbr-gateway
# Loopback would reach nobody outside the container. As any variable, these go before the configuration file.
ENV PATH=/opt/cbr-gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    CBR_GATEWAY_CONFIG=/etc/cbr-gateway/config.yaml \
    CBR_GATEWAY_SERVER__LISTEN=0.0.0.0:50051 \
    CBR_GATEWAY_SERVER__HEALTH_LISTEN=0.0.0.0:50052 \
    CBR_GATEWAY_ADMIN__LISTEN=0.0.0.0:50053
EXPOSE 50051 50052 50053
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-IS", "/opt/cbr-gateway/lib/python3.11/site-packages/gateway/alive.py"]
ENTRYPOINT ["cbr-gateway"]
CMD ["serve"]
