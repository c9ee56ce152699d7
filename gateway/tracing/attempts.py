"""One span for each request to CBR and IAM, repeats included: client spans by the conventions for
HTTP.

Made when the request has ended, since nothing of a trace is sent to the cloud. Without `url.full`,
which holds ids and what callers filter by: the template of the path tells which request it was.
"""

import time
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.semconv._incubating.attributes.http_attributes import HTTP_REQUEST_RESEND_COUNT
from opentelemetry.semconv._incubating.attributes.url_attributes import URL_TEMPLATE
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_RESPONSE_STATUS_CODE,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from gateway.tracing.spans import CURRENT, NOT_RECORDED, Spans
from gateway.upstream.change_observer import ChangeResult
from gateway.upstream.http import FIRST_ERROR
from gateway.upstream.meter import UpstreamMeter
from gateway.upstream.outcome import Attempt, Outcome
from gateway.upstream.target import Target

_NS: Final = 1_000_000_000
_PORTS: Final = MappingProxyType({"http": 80, "https": 443})
_NO_CALL: Final = Context()


class TracedAttempts:
    """An UpstreamMeter (`gateway.upstream.meter`) around another one."""

    def __init__(self, meter: UpstreamMeter, spans: Spans) -> None:
        self._meter, self._spans = meter, spans

    def attempted(
        self,
        target: Target,
        attempt: Attempt | None,
        seconds: float,
        *,
        method: str,
        path: str,
        resent: int,
    ) -> None:
        self._meter.attempted(target, attempt, seconds, method=method, path=path, resent=resent)
        call = CURRENT.get()
        if call is NOT_RECORDED or (call is None and not self._spans.begins()):
            return
        now = time.time_ns()
        span = self._spans.tracer.start_span(
            f"{method} {path}",
            _NO_CALL if call is None else set_span_in_context(call, _NO_CALL),
            SpanKind.CLIENT,
            start_time=now - round(seconds * _NS),
            record_exception=False,
        )
        if not span.is_recording():
            return
        sent = {HTTP_REQUEST_METHOD: method, URL_TEMPLATE: path, **_server(target.endpoint)}
        if resent:
            sent[HTTP_REQUEST_RESEND_COUNT] = resent
        span.set_attributes({**sent, "cbrgateway.operation": target.operation, **_proof(attempt)})
        if problem := _problem(attempt):
            span.set_attribute(ERROR_TYPE, problem)
            span.set_status(StatusCode.ERROR)
        span.end(now)

    def changed(self, result: ChangeResult) -> None:
        self._meter.changed(result)


def _proof(attempt: Attempt | None) -> dict[str, str | int]:
    """What came of it."""
    if attempt is None:
        return {}
    known: dict[str, str | int] = {"cbrgateway.outcome": attempt.outcome.name.lower()}
    if attempt.status is not None:
        known[HTTP_RESPONSE_STATUS_CODE] = attempt.status
    if attempt.request_id:
        known["cbrgateway.upstream_request_id"] = attempt.request_id
    if attempt.error is not None and attempt.error.code:
        known["cbrgateway.upstream_code"] = attempt.error.code
    return known


def _problem(attempt: Attempt | None) -> str:
    """The kind of failure; empty for a success."""
    if attempt is None:
        return "cancelled"
    if attempt.status is not None:
        return _problem_of_answer(attempt, attempt.status)
    if attempt.connect is not None:
        return attempt.connect.name.lower()
    if attempt.outcome is Outcome.NEVER_SENT:
        return "not_sent"
    return "timeout" if attempt.timed_out else "no_answer"


def _problem_of_answer(attempt: Attempt, status: int) -> str:
    if status >= FIRST_ERROR:
        return str(status)
    if attempt.error is not None:
        return "error_in_success"
    return "unreadable_answer" if attempt.problem else ""


@lru_cache(maxsize=256)
def _server(endpoint: str) -> Mapping[str, str | int]:
    where = urlsplit(endpoint)
    port = where.port or _PORTS.get(where.scheme, 0)
    return {SERVER_ADDRESS: where.hostname or "", SERVER_PORT: port}
