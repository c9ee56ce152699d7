"""One span for each call, a stream included: server spans by the conventions for RPCs.

They continue the caller's trace, as its metadata tell (`traceparent` and `tracestate`, W3C Trace
Context).
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.context import Context as Parent
from opentelemetry.propagators.textmap import Getter
from opentelemetry.semconv._incubating.attributes.rpc_attributes import (
    RPC_METHOD,
    RPC_RESPONSE_STATUS_CODE,
    RPC_SYSTEM_NAME,
)
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.trace import Span, SpanKind, StatusCode, format_trace_id
from opentelemetry.trace import get_current_span as span_in
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from gateway.rpc.call import Call, CallMeter
from gateway.rpc.context import Context
from gateway.telemetry import TRACE_ID
from gateway.tracing.spans import CURRENT, NOT_RECORDED, Spans, full_name

_GRPC: Final = "grpc"
_OTHER: Final = "_OTHER"
"""How the conventions call an RPC that does not exist."""
_FAULTS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)
"""Codes that the conventions call errors of the server; others are the caller's."""
_TRACEPARENT: Final = "traceparent"
_UNSAMPLED: Final = re.compile(
    "00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]"
)
"""One whose caller does not record it. The library would take ten times as long to see that."""

Metadata = Sequence[tuple[str, Any]]


class _OfMetadata(Getter[Metadata]):
    def get(self, carrier: Metadata, key: str) -> list[str] | None:
        return [value for name, value in carrier if name == key] or None

    def keys(self, carrier: Metadata) -> list[str]:
        return [name for name, _ in carrier]


_METADATA: Final = _OfMetadata()
_NOTHING: Final = Parent()
_PROPAGATOR: Final = TraceContextTextMapPropagator()


class TracedCalls:
    """A CallMeter (`gateway.rpc.call`) around another one."""

    def __init__(self, meter: CallMeter, spans: Spans) -> None:
        self._meter, self._spans = meter, spans

    def started(self, call: Call, context: Context) -> None:
        self._meter.started(call, context)
        span = self._span(call, full_name(call.binding.rpc), context)
        CURRENT.set(span)
        if span is not NOT_RECORDED:
            TRACE_ID.set(call.trace_id)

    def ended(self, call: Call) -> None:
        self._meter.ended(call)
        span = CURRENT.get()
        CURRENT.set(None)
        TRACE_ID.set("")
        if span is None or span is NOT_RECORDED:
            return
        span.set_attributes(_facts(call))
        if call.outcome in _FAULTS:
            span.set_attribute(ERROR_TYPE, call.outcome)
            span.set_status(StatusCode.ERROR, call.reason)
        span.end()

    def unknown_rpc(self, outcome: str, reason: str, context: Context) -> None:
        """Without its name, which callers choose."""
        self._meter.unknown_rpc(outcome, reason, context)
        span = self._span(None, _GRPC, context)
        span.set_attributes(
            {
                RPC_SYSTEM_NAME: _GRPC,
                RPC_METHOD: _OTHER,
                RPC_RESPONSE_STATUS_CODE: outcome,
                ERROR_TYPE: outcome,
                "cbrgateway.reason": reason,
            }
        )
        span.set_status(StatusCode.ERROR, reason)
        span.end()

    def _span(self, call: Call | None, name: str, context: Context) -> Span:
        """NOT_RECORDED, or one that is. Tells the call its trace."""
        metadata: Metadata = context.invocation_metadata() or ()
        told = next((value for key, value in metadata if key == _TRACEPARENT), None)
        if told is not None and self._spans.follows_callers and (no := _UNSAMPLED.fullmatch(told)):
            _tell(call, no[1])
            return NOT_RECORDED
        parent = _NOTHING if told is None else _PROPAGATOR.extract(metadata, _NOTHING, _METADATA)
        theirs = told is not None and span_in(parent).get_span_context().is_valid
        if not theirs and not self._spans.begins():
            return NOT_RECORDED
        span = self._spans.tracer.start_span(name, parent, SpanKind.SERVER, record_exception=False)
        recorded = span.is_recording()
        if recorded or theirs:
            _tell(call, format_trace_id(span.get_span_context().trace_id))
        return span if recorded else NOT_RECORDED


def _tell(call: Call | None, trace_id: str) -> None:
    """The call's lines in the log and its records name the trace."""
    if call is not None:
        call.trace_id = call.log_fields["trace_id"] = trace_id


def _facts(call: Call) -> dict[str, str | int]:
    known: dict[str, str | int] = {
        RPC_SYSTEM_NAME: _GRPC,
        RPC_METHOD: full_name(call.binding.rpc),
        RPC_RESPONSE_STATUS_CODE: call.outcome,
        "cbrgateway.call": call.id,
        "cbrgateway.attempts": call.upstream.attempts,
    }
    if call.principal is not None:
        known["cbrgateway.tenant"] = call.principal.tenant.id
        known["cbrgateway.principal"] = call.principal.id
    if call.project is not None:
        known["cbrgateway.project"] = call.project.id
    if call.reason:
        known["cbrgateway.reason"] = call.reason
    if call.messages is not None:
        known["cbrgateway.messages"] = call.messages
    return known
