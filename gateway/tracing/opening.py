"""From the settings to spans that are sent."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

import requests
import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, TraceIdRatioBased
from requests.adapters import HTTPAdapter

from gateway.background import in_background
from gateway.renewal import Renewable, Use
from gateway.rpc.call import CallMeter
from gateway.tracing.answers import Answers
from gateway.tracing.attempts import TracedAttempts
from gateway.tracing.calls import TracedCalls
from gateway.tracing.settings import TracingSettings
from gateway.tracing.spans import Spans
from gateway.upstream.http import tls_context
from gateway.upstream.meter import UpstreamMeter

_SERVICE: Final = "cbr-gateway"
_PATH: Final = "/v1/traces"
_TIMEOUT_S: Final = 5.0
_CLOSE_S: Final = 2.0
"""What a collector that is away may cost at the end."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Tracing:
    """One per process that traces."""

    def __init__(self, settings: TracingSettings) -> None:
        release = version(_SERVICE)
        self._provider = TracerProvider(
            sampler=(
                ParentBased(ALWAYS_ON)
                if settings.parent_based
                else TraceIdRatioBased(settings.sample_ratio)
            ),
            resource=Resource.create(
                {
                    "service.name": _SERVICE,
                    "service.version": release,
                    "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
                }
            ),
            shutdown_on_exit=False,
        )
        self._file = settings.ca_file
        self._trusted = _Trusted(tls_context(self._file))
        sender = _Sender(_exporter(settings, self._trusted))
        self._provider.add_span_processor(BatchSpanProcessor(sender))
        tracer = self._provider.get_tracer("cbrgateway", release)
        self._spans = Spans(tracer, settings.parent_based, settings.sample_ratio)

    def calls(self, meter: CallMeter) -> TracedCalls:
        return TracedCalls(meter, self._spans)

    def attempts(self, meter: UpstreamMeter) -> TracedAttempts:
        return TracedAttempts(meter, self._spans)

    def certificates(self) -> Renewable | None:
        """The file of authorities that the collector is known by."""
        if (file := self._file) is None:
            return None

        def read() -> Use:
            context = tls_context(file)
            return lambda: self._trusted.use(context)

        return Renewable("tracing.ca_file", (file,), read)

    async def aclose(self) -> None:
        """Sends what has ended, if that does not take long."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await in_background(self._provider.shutdown)
        except TimeoutError:
            log.warning("the last traces were not sent: the collector does not take them")


class _Trusted(HTTPAdapter):
    """Knows servers by a context, whatever authorities its session names; by another one for
    connections that are made from then on.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def use(self, context: ssl.SSLContext) -> None:
        self._context = context

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,  # noqa: FBT001 - the library's
        cert: str | tuple[str, str] | None = None,
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        where, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        secure = where["scheme"] == "https"
        return where, {"ssl_context": self._context} if secure else {}

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Nothing: the context says it all."""


def _exporter(settings: TracingSettings, trusted: _Trusted) -> OTLPSpanExporter:
    session = requests.Session()
    # No proxies, certificates or passwords but those of the settings.
    session.trust_env = False
    session.mount("https://", trusted)
    session.hooks["response"].append(Answers().look)
    return OTLPSpanExporter(
        endpoint=settings.endpoint.rstrip("/") + _PATH,
        headers={name: secret.reveal() for name, secret in settings.headers.items()},
        timeout=_TIMEOUT_S,
        compression=Compression.Gzip,
        session=session,
    )


class _Sender(SpanExporter):
    """Tells once that the collector does not take spans, and once that it does again; its library
    would tell each time.
    """

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._good = True
        self._said = ""
        logging.getLogger(OTLPSpanExporter.__module__).addFilter(self._hear)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        good = result is SpanExportResult.SUCCESS
        if self._good and not good:
            log.error(
                "traces cannot be sent to the collector; they are dropped until it takes them",
                cause=self._said,
            )
        elif good and not self._good:
            log.info("traces are sent to the collector again")
        self._good = good
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
        logging.getLogger(OTLPSpanExporter.__module__).removeFilter(self._hear)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def _hear(self, record: logging.LogRecord) -> bool:
        self._said = record.getMessage()
        return False
