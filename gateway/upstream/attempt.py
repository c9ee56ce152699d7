"""One attempt of a call to CBR: credential, observers, breakers, request, and what it proves."""

from typing import Final

import structlog
from google.protobuf.message import Message

from gateway.errors import GatewayError
from gateway.upstream import reading, retry
from gateway.upstream.auth import Applied
from gateway.upstream.breaker import Traffic, Verdict
from gateway.upstream.breakers import Held, Passage
from gateway.upstream.end_errors import TOO_LARGE, held_back, outcome_unknown, too_late
from gateway.upstream.http import CalledBack, HttpResponse, Lost, NoPlace, NotSent, TooLarge
from gateway.upstream.outcome import Attempt, Outcome
from gateway.upstream.retry import Deadline
from gateway.upstream.send_state import UNANNOUNCED, SendState
from gateway.upstream.upstream_call import NOT_SENT, UpstreamCall

_SERVER_ERROR: Final = 500

log: structlog.stdlib.BoundLogger = structlog.get_logger()


async def attempt(
    call: UpstreamCall, deadline: Deadline, end_by: Deadline
) -> tuple[int, Message | None]:
    """Sends the request once; `call.last` holds what it proved.

    The generation of its credential, and the response if it has brought one.
    """
    clock, reads = call.route.clock, call.binding.reads
    if deadline.attempt_s(clock.monotonic()) is None:
        raise too_late(call)
    try:
        applied = await call.route.auth.apply(
            call.request, call.project_id, deadline.start_within_s(clock.monotonic())
        )
    except GatewayError as error:
        raise outcome_unknown(call) if call.in_doubt else error from None
    if call.observers and call.state in UNANNOUNCED:
        await _announce(call)
    timeout_s = (deadline if reads else end_by).attempt_s(clock.monotonic())
    if timeout_s is None:
        raise too_late(call)
    passage = _passage(call)
    before, verdict, message, began = call.state, Verdict.NOTHING, None, clock.monotonic()
    try:
        response = await call.route.transport.send(
            applied.request, timeout_s, call.may_write, connect_s=call.connect_left_s
        )
        if len(response.body) <= reading.LARGE_BYTES:
            call.last, message = reading.at_once(call, response, call.on_bad_row)
        else:
            call.last, message = await reading.in_parts(call, response)
        verdict = _answered(call, response, applied, began)
    except CalledBack:
        if call.stopped is not None:
            raise outcome_unknown(call) if call.in_doubt else call.stopped from None
    except (NotSent, Lost) as error:
        verdict = _unanswered(call, error)
    finally:
        took_s = clock.monotonic() - began
        call.attempt_ended(before, took_s)
        _count(call, took_s)
        passage.settle(verdict)
    return applied.generation, message


def _count(call: UpstreamCall, took_s: float) -> None:
    call.route.meter.attempted(
        call.target,
        call.last if call.last is not NOT_SENT else None,
        took_s,
        method=call.binding.method,
        path=call.binding.path,
        resent=call.attempts - 1,
    )


async def _announce(call: UpstreamCall) -> None:
    """Before the first byte of a change."""
    for observer in call.observers:
        if not await observer.on_send():
            raise too_late(call)
    call.state = SendState.ANNOUNCED


def _passage(call: UpstreamCall) -> Passage:
    """Leave of the breakers for an attempt, which begins with it."""
    passage = call.breakers.enter(
        call.target, Traffic.READ if call.binding.reads else Traffic.WRITE
    )
    if isinstance(passage, Held):
        raise held_back(call, passage)
    call.attempts += 1
    call.last = NOT_SENT
    return passage


def _answered(
    call: UpstreamCall, response: HttpResponse, applied: Applied, began: float
) -> Verdict:
    """What an answer says to the breakers."""
    call.reach("after_answer")
    call.answers += 1
    call.route.auth.observe(response, applied.generation)
    call.route.remote_clock.observe(response, began)
    failed = response.status >= _SERVER_ERROR and call.last.outcome is not Outcome.DEFINITE
    return Verdict.FAILURE if failed else Verdict.SUCCESS


def _unanswered(call: UpstreamCall, error: NotSent | Lost) -> Verdict:
    """What it says to the breakers that no answer came."""
    call.reach("answer_lost")
    call.last = _without_answer(error, reads=call.binding.reads)
    log.warning(
        "no answer of CBR",
        operation=call.binding.operation,
        url=call.request.url.partition("?")[0],
        cause=str(error),
        advice=error.advice,
    )
    return error.verdict(retry.MAX_ATTEMPT_S)


def _without_answer(error: NotSent | Lost, *, reads: bool) -> Attempt:
    if isinstance(error, NotSent):
        return Attempt(
            Outcome.NEVER_SENT, connect=error.connect, no_place=isinstance(error, NoPlace)
        )
    if isinstance(error, TooLarge):
        # Of a read the next answer would be as large.
        return Attempt(Outcome.DEFINITE if reads else Outcome.AMBIGUOUS, problem=TOO_LARGE)
    return Attempt(Outcome.AMBIGUOUS, timed_out=error.timed_out)
