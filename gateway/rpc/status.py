"""A GatewayError as a google.rpc.Status: the code, a short message, and details of the kinds that
clients know.

gRPC sends a status in trailers, and trailers over 8 KiB come out as a false RESOURCE_EXHAUSTED at
the other end; hence the caps.
"""

import math
from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import errors_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.errors import GatewayError, QuotaViolation, Violation
from gateway.reasons import REASONS, reason_name

DOMAIN: Final = "cbrgateway"
MAX_MESSAGE_BYTES: Final = 512
MAX_DETAILS_BYTES: Final = 4096
MAX_VIOLATIONS: Final = 20
_MAX_TEXT: Final = 200
_SHORTEST_CALL_S: Final = 0.4
"""What a call needs at least, as DEADLINE_TOO_SHORT says: with less, a repeat would end as that."""
_MAX_PUSHBACK_MS: Final = 2**31 - 1
"""What every client can read."""
_MAX_DESCRIPTION: Final = 400
"""Room for the names of values that a field may hold."""


def to_status(error: GatewayError, request_id: str) -> status_pb2.Status:
    """The status of an error; `request_id` names the gateway's call, and is empty for what is not a
    call's own error.
    """
    info = error_details_pb2.ErrorInfo(reason=reason_name(error.reason), domain=DOMAIN)
    known = (
        ({"requestId": request_id} if request_id else {})
        | error.upstream.as_metadata()
        | dict(error.metadata)
    )
    info.metadata.update({key: _clip(value, _MAX_TEXT) for key, value in known.items()})
    status = status_pb2.Status(code=error.code, message=_clip(error.message, MAX_MESSAGE_BYTES))
    # The small ones first; the violations take the room that is left.
    request = error_details_pb2.RequestInfo(request_id=request_id) if request_id else None
    for detail in (info, request, _retry(error), _resource(error)):
        if detail is not None:
            status.details.append(_packed(detail))
    room = MAX_DETAILS_BYTES - sum(detail.ByteSize() for detail in status.details)
    for count in range(min(len(error.violations), MAX_VIOLATIONS), 0, -1):
        packed = _packed(_violations(error, error.violations[:count]))
        if packed.ByteSize() <= room:
            status.details.append(packed)
            break
    return status


def pushback(error: GatewayError, time_left_s: float | None) -> str:
    """The trailer `grpc-retry-pushback-ms`: how long gRPC clients that repeat calls by themselves
    wait; -1: they do not repeat. Empty: as they like.

    `time_left_s`: until the caller's deadline. A client told to wait for longer would hide the
    error behind a DEADLINE_EXCEEDED of its own. Never 0: the core of gRPC may then not make its
    next attempt at all.
    """
    if error.retry_after_s is None or not REASONS[error.reason].pushback:
        return ""
    wait_ms = max(math.ceil(error.retry_after_s * 1000), 1)
    in_time = time_left_s is None or wait_ms / 1000 + _SHORTEST_CALL_S <= time_left_s
    return str(wait_ms) if in_time and wait_ms <= _MAX_PUSHBACK_MS else "-1"


def _packed(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _retry(error: GatewayError) -> Message | None:
    if error.retry_after_s is None:
        return None
    nanos = round(error.retry_after_s * 1e9)
    info: Message = error_details_pb2.RetryInfo(
        retry_delay=Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
    )
    return info


def _resource(error: GatewayError) -> Message | None:
    if error.resource is None:
        return None
    info: Message = error_details_pb2.ResourceInfo(
        resource_type=error.resource.kind, resource_name=_clip(error.resource.name, _MAX_TEXT)
    )
    return info


def _violations(error: GatewayError, violations: Sequence[Violation]) -> Message:
    shown = [
        (
            _clip(v.subject, _MAX_TEXT),
            _clip(v.description, _MAX_DESCRIPTION),
            _clip(v.rule, _MAX_TEXT),
        )
        for v in violations
    ]
    detail: Message
    if error.code == code_pb2.INVALID_ARGUMENT:
        fields = [
            error_details_pb2.BadRequest.FieldViolation(field=s, description=d, reason=r)
            for s, d, r in shown
        ]
        detail = error_details_pb2.BadRequest(field_violations=fields)
    elif error.code == code_pb2.RESOURCE_EXHAUSTED:
        detail = error_details_pb2.QuotaFailure(
            violations=[_own_limit(v) for v in violations if isinstance(v, QuotaViolation)]
        )
    elif error.reason == errors_pb2.ERROR_REASON_UPSTREAM_LIMIT:
        limits = [
            error_details_pb2.QuotaFailure.Violation(
                subject=s, description=d, quota_id=r, api_service="cbr"
            )
            for s, d, r in shown
        ]
        detail = error_details_pb2.QuotaFailure(violations=limits)
    else:
        conditions = [
            error_details_pb2.PreconditionFailure.Violation(subject=s, description=d, type=r)
            for s, d, r in shown
        ]
        detail = error_details_pb2.PreconditionFailure(violations=conditions)
    return detail


def _own_limit(violation: QuotaViolation) -> error_details_pb2.QuotaFailure.Violation:
    return error_details_pb2.QuotaFailure.Violation(
        subject=_clip(violation.subject, _MAX_TEXT),
        description=_clip(violation.description, _MAX_TEXT),
        api_service=DOMAIN,
        quota_metric=violation.metric,
        quota_id=_clip(violation.rule, _MAX_TEXT),
        quota_dimensions=violation.dimensions,
        quota_value=violation.value,
    )


def _clip(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, whole characters, control characters replaced so that a log
    or terminal cannot be played with.
    """
    safe = "".join(c if c.isprintable() else "?" for c in text)
    return safe.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")
