"""What a collector's answers say that OpenTelemetry's exporter does not read: it takes every answer
below 400 for a success.
"""

from http import HTTPStatus

import requests
import structlog
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class NotTaken(requests.RequestException):
    """Somebody else has answered than a collector; so the export has failed."""


class Answers:
    """Looks at each answer. Spans that are rejected are told once, and once that none are."""

    def __init__(self) -> None:
        self._whole = True

    def look(self, answer: requests.Response, **_: object) -> None:
        """Raises NotTaken."""
        if not answer.ok:
            return
        if fault := _fault(answer):
            answer.close()
            raise NotTaken(fault)
        self._tell(_partly(answer.content))

    def _tell(self, partly: ExportTracePartialSuccess) -> None:
        whole = partly.rejected_spans == 0
        if self._whole and not whole:
            log.error(
                "the collector rejects spans",
                spans=partly.rejected_spans,
                cause=partly.error_message,
            )
        elif whole and not self._whole:
            log.info("the collector takes all spans again")
        self._whole = whole


def _fault(answer: requests.Response) -> str | None:
    if answer.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        return f"{answer.status_code}, a redirect, which is not followed"
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return "a page, such as that of a proxy" if kind == "text/html" else None


def _partly(body: bytes) -> ExportTracePartialSuccess:
    """Empty if it is not what OTLP says, as where a collector answers JSON, or a word."""
    try:
        return ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return ExportTracePartialSuccess()
