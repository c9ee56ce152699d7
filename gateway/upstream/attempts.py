"""The attempts of one call to CBR: when to repeat it, and when to read back what it did.

Each is made in attempt.py and judged in outcome.py; how long to wait is told in retry.py, and which
error a call ends with in end_errors.py.
"""

import random
from typing import Final

from google.protobuf.message import Message
from google.rpc import code_pb2

from gateway.errors import GatewayError
from gateway.upstream import retry
from gateway.upstream.attempt import attempt
from gateway.upstream.declaration import RetryClass
from gateway.upstream.end_errors import failure, outcome_unknown
from gateway.upstream.outcome import Next, Outcome, what_next
from gateway.upstream.retry import Deadline, RetryKind
from gateway.upstream.send_state import SendState
from gateway.upstream.upstream_call import UpstreamCall

_MAX_RENEWALS: Final = 10
"""A token can be revoked while its successor is on its way, but not for ever."""
_CAUSED_BY_OURSELVES: Final = frozenset(
    {code_pb2.ABORTED, code_pb2.FAILED_PRECONDITION, code_pb2.ALREADY_EXISTS, code_pb2.NOT_FOUND}
)
"""What a repeated change may be told because the attempt before it was or is carried out."""


async def carry_out(call: UpstreamCall, start_by: Deadline, end_by: Deadline) -> Message:
    """The response.

    `start_by` bounds the start of attempts; while more can be found out of one that may have been
    carried out, `end_by` takes its place. Raises GatewayError.
    """
    kind: RetryKind | None = None
    with call.budget:
        while True:
            deadline = end_by if call.state is SendState.UNANSWERED else start_by
            try:
                generation, message = await attempt(call, deadline, end_by)
                match _next(call):
                    case Next.END:
                        return _end(call, kind, message)
                    case Next.UNKNOWN:
                        raise outcome_unknown(call)
                    case Next.READ_BACK:
                        if (settled := await _read_back(call)) is not None:
                            return settled
                    case Next.REPEAT:
                        if call.last.credentials and not await _renewed(call, generation, deadline):
                            raise failure(call)
            finally:
                if kind is not None:
                    call.budget.retry_ended()
            kind = await _again(call, end_by if call.state is SendState.UNANSWERED else start_by)


def _next(call: UpstreamCall) -> Next:
    """What may follow the last attempt."""
    if call.last.outcome is Outcome.REFUSED:
        call.refusals += 1
    return what_next(call.binding.retry_class, call.last.outcome, call.refusals)


def _end(call: UpstreamCall, kind: RetryKind | None, message: Message | None) -> Message:
    if message is not None:
        if kind is None:
            call.budget.first_try_succeeded()
        return message
    error = failure(call)
    if call.in_doubt and error.code in _CAUSED_BY_OURSELVES:
        found = call.last.error
        if call.binding.retry_class is RetryClass.DELETE and found is not None and found.gone:
            return call.binding.response_type()
        raise outcome_unknown(call)
    raise error


async def _read_back(call: UpstreamCall) -> Message | None:
    assert call.read_back is not None
    call.reach("before_read_back")
    try:
        settled = await call.read_back()
    except GatewayError:
        raise outcome_unknown(call) from None
    # Nothing more can be found out now; a change that a read does not show may still come.
    call.state = SendState.DOUBTFUL
    return settled


async def _renewed(call: UpstreamCall, generation: int, deadline: Deadline) -> bool:
    """Whether there is a newer credential than the one that was refused.

    Raises why it could not be had.
    """
    call.renewals += 1
    if call.renewals > _MAX_RENEWALS:
        return False
    within_s = deadline.start_within_s(call.route.clock.monotonic())
    try:
        return await call.route.auth.refused(generation, within_s)
    except GatewayError as error:
        raise outcome_unknown(call) if call.in_doubt else error from None


async def _again(call: UpstreamCall, deadline: Deadline) -> RetryKind | None:
    """Waits before the next attempt, or raises what the last one comes to.

    On return the budget is taken for the kind of retry.

    None where only the credential was renewed: that says nothing of CBR's health, so it takes no
    time, no budget and no attempt.
    """
    if call.unwanted:
        raise failure(call)
    if call.last.credentials:
        call.reach("before_repeat")
        return None
    if call.last.connect and call.connect_left_s < retry.MIN_ATTEMPT_S:
        raise failure(call)
    kind = RetryKind.THROTTLED if call.last.throttled else RetryKind.TRANSIENT
    # Jitter, not a secret.
    delay_s = retry.next_delay(
        call.attempts - call.renewals,
        kind,
        retry_after_s=call.last.retry_after_s,
        time_left_s=deadline.left_s(call.route.clock.monotonic()),
        random=random.random,
    )
    if delay_s is None or not call.budget.take(kind):
        raise failure(call)
    call.reach("before_repeat")
    try:
        await call.route.clock.sleep(delay_s)
    except BaseException:
        call.budget.retry_ended()
        raise
    return kind
