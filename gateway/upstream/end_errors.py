"""How a call ends when it does not succeed: the error that says what happened, what was sent, and
what to do.

Where a change is in doubt, every end but a definite answer is OUTCOME_UNKNOWN.
"""

import math
from collections.abc import Mapping
from typing import Final

from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2

from gateway.errors import AnswerTooLarge, GatewayError, UpstreamFacts
from gateway.reasons import REASONS
from gateway.upstream.breaker import Level
from gateway.upstream.breakers import Held
from gateway.upstream.declaration import Binding
from gateway.upstream.faults import to_gateway_error
from gateway.upstream.lookup import named_in_body
from gateway.upstream.outcome import Attempt, Outcome
from gateway.upstream.send_state import SendState
from gateway.upstream.upstream_call import UpstreamCall
from gateway.upstream.upstream_error import UpstreamError

TOO_LARGE: Final = "the body is too large"

_RETRY_AFTER_S: Final = 1.0
_OTHERS: Final = ", others are not affected"
_FAILING: Final[Mapping[Level, tuple[str, str]]] = {
    Level.HOST: ("connections to CBR have been failing", ""),
    Level.ENDPOINT: ("CBR has been failing for most tenants", ""),
    Level.PROJECT: ("CBR has been failing for most calls in this project", _OTHERS),
    Level.OPERATION: ("CBR has been failing for {operation} in this project", _OTHERS),
    Level.OBJECT: ("CBR has been failing for {operation} of this object", _OTHERS),
}
"""What has been failing, and whom it leaves alone."""


def failure(call: UpstreamCall) -> GatewayError:
    """What the last attempt comes to."""
    attempt = call.last
    if call.in_doubt and attempt.outcome is not Outcome.DEFINITE:
        return outcome_unknown(call)
    if attempt.problem:
        return _unreadable(call, attempt.problem)
    if attempt.error is not None:
        return _refused(call, attempt.error, attempt.retry_after_s)
    if attempt.outcome is Outcome.NEVER_SENT:
        return _unreachable(call, _why_never_sent(attempt))
    what = "did not answer in time" if attempt.timed_out else "broke the connection"
    return GatewayError(
        errors_pb2.ERROR_REASON_UPSTREAM_UNAVAILABLE,
        f"CBR {what}; repeating is safe.",
        retry_after_s=_RETRY_AFTER_S,
        upstream=call.facts(),
    )


def _unreadable(call: UpstreamCall, problem: str) -> GatewayError:
    text = (
        f"The answer of CBR is not what its API describes: {problem}; report it to the gateway's"
        " operator."
    )
    kind = AnswerTooLarge if problem == TOO_LARGE else GatewayError
    return kind(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text, upstream=call.facts())


def _refused(call: UpstreamCall, error: UpstreamError, retry_after_s: float | None) -> GatewayError:
    """CBR has told why."""
    told = refused(call.binding, call.message, error, call.facts())
    if told.retry_after_s is not None and retry_after_s is not None:
        told.retry_after_s = max(told.retry_after_s, retry_after_s)
    return told


def refused(
    binding: Binding, request: Message, error: UpstreamError, facts: UpstreamFacts
) -> GatewayError:
    """CBR's error to a request, for whoever asked for it."""
    subject = {
        segment.variable: str(getattr(request, segment.variable)) for segment in binding.segments
    }
    return to_gateway_error(error, binding, facts, subject, named_in_body(binding, request))


def _why_never_sent(attempt: Attempt) -> str:
    if attempt.no_place:
        return (
            "is slow to answer the tenant's calls, which have taken all connections that one tenant"
            " may have,"
        )
    if attempt.connect:
        return f"could not be reached ({attempt.connect.problem})"
    return "could not be reached,"


def _unreachable(call: UpstreamCall, why: str) -> GatewayError:
    what = "sent" if call.unsent else "carried out"
    return GatewayError(
        errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE,
        f"CBR {why} and nothing was {what}; repeating is safe.",
        retry_after_s=_RETRY_AFTER_S,
        upstream=call.facts(),
    )


def held_back(call: UpstreamCall, held: Held) -> GatewayError:
    """Not sent, because it would most likely fail again."""
    if call.in_doubt:
        return outcome_unknown(call)
    what, whom = _FAILING[held.level]
    retry_after_s = max(held.retry_after_s, _RETRY_AFTER_S)
    nothing = "nothing was sent" if call.unsent else "nothing was carried out"
    text = (
        f"{what.format(operation=call.binding.operation)}, so such calls are held back and"
        f" {nothing}; repeat it in {math.ceil(retry_after_s)} s{whom}."
    )
    return GatewayError(
        errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE,
        text,
        retry_after_s=retry_after_s,
        upstream=call.facts(),
        metadata={"heldBack": held.level.value},
    )


def too_late(call: UpstreamCall) -> GatewayError:
    """The time is up and nothing is in doubt: what the call waits for, or what the last attempt
    came to, if there was one.
    """
    if call.state is SendState.QUEUED:
        text = (
            "Another change to the same object is under way in this gateway; wait for it, then"
            " repeat. Nothing was sent."
        )
        return GatewayError(
            errors_pb2.ERROR_REASON_RESOURCE_BUSY,
            text,
            retry_after_s=_RETRY_AFTER_S,
            upstream=call.facts(),
        )
    if call.attempts:
        return failure(call)
    text = "The deadline leaves no time for a call to CBR; give the call at least 400 ms."
    return GatewayError(errors_pb2.ERROR_REASON_DEADLINE_TOO_SHORT, text, upstream=call.facts())


def shutting_down(call: UpstreamCall) -> GatewayError:
    """The process ends before the call does."""
    if call.in_doubt:
        return outcome_unknown(call)
    what = "nothing was sent" if call.unsent and not call.binding.reads else "nothing was changed"
    text = f"The gateway is shutting down and {what}; repeat the call, and another process answers."
    return GatewayError(
        errors_pb2.ERROR_REASON_SHUTTING_DOWN,
        text,
        retry_after_s=_RETRY_AFTER_S,
        upstream=call.facts(),
    )


def outcome_unknown(call: UpstreamCall) -> GatewayError:
    """The change was sent, and nobody knows whether it was carried out.

    UNAVAILABLE only where a repeat is recognised: programs repeat that.
    """
    reason = errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN
    advice, code = (
        ("repeat it with the same request_id", code_pb2.UNAVAILABLE)
        if call.recognised
        else ("read the object, and repeat only if the change is absent", REASONS[reason].code)
    )
    text = (
        f"{call.binding.operation} was sent, but whether CBR carried it out is not known; {advice}."
    )
    return GatewayError(reason, text, upstream=call.facts(), code=code)
