"""One call to CBR with all of its attempts: when to repeat, when to read back, and which error to
end with.

What an attempt proves is judged in outcome.py, how long to wait in retry.py; here they are put
together with the breaker, the retry budget and the credential.
"""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

import structlog
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2

from gateway import failpoint
from gateway.clock import Clock
from gateway.errors import AnswerTooLarge, GatewayError, UpstreamFacts
from gateway.reasons import REASONS
from gateway.upstream import retry
from gateway.upstream.auth import Applied, Authenticator
from gateway.upstream.breaker import Level, Traffic, Verdict
from gateway.upstream.breakers import Breakers, Held
from gateway.upstream.budget import RetryBudget
from gateway.upstream.declaration import Binding, OnBadRow, RetryClass
from gateway.upstream.faults import to_gateway_error
from gateway.upstream.http import (
    HttpRequest,
    HttpResponse,
    Lost,
    NoPlace,
    NotSent,
    TooLarge,
    Transport,
    always,
)
from gateway.upstream.lookup import named_in_body
from gateway.upstream.orders import keep_ids
from gateway.upstream.outcome import Attempt, Next, Outcome, judge, what_next
from gateway.upstream.remote_clock import RemoteClock
from gateway.upstream.retry import Deadline, RetryKind
from gateway.upstream.target import Target
from gateway.upstream.values import ProtocolError

_SERVER_ERROR: Final = 500
_RETRY_AFTER_S: Final = 1.0
_MAX_RENEWALS: Final = 10
"""A token can be revoked while its successor is on its way, but not for ever: usually the time ends
the call before.
"""

TOO_LARGE: Final = "the body is too large"

_NOT_SENT: Final = Attempt(Outcome.NEVER_SENT)

log: structlog.stdlib.BoundLogger = structlog.get_logger()
_CAUSED_BY_OURSELVES: Final = frozenset(
    {code_pb2.ABORTED, code_pb2.FAILED_PRECONDITION, code_pb2.ALREADY_EXISTS, code_pb2.NOT_FOUND}
)
"""What a repeated change may be told because the attempt before it has been, or is still being,
carried out.
"""

ReadBack = Callable[[], Awaitable[Message | None]]
"""The response that the change would have had, if a read shows it in force; None if it is absent.

Raises GatewayError when the read fails.
"""


class ChangeResult(Enum):
    """What became of a change."""

    DONE = "carried out"
    NOTHING = "nothing happened"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class ChangeObserver:
    """Who must hear of a change.

    Both run in the change's own task, so also when its caller has gone.

    `on_send`: before the first byte goes to CBR; False: it must not go, and observers that come
    later do not hear of it. `on_end`: once, with the response if the change was carried out, and
    what is known of the calls. `may_write`: right before the first byte of every attempt, and asked
    without a pause; False: it must not go any more.
    """

    on_send: Callable[[], Awaitable[bool]]
    on_end: Callable[[ChangeResult, Message | None, UpstreamFacts], Awaitable[None]]
    may_write: Callable[[], bool] = always


@dataclass(frozen=True, slots=True)
class Route:
    """What the calls of one account share on their way to one region endpoint."""

    transport: Transport
    auth: Authenticator
    clock: Clock
    remote_clock: RemoteClock


@dataclass(slots=True)
class Exchange:
    """One call.

    Its flags tell at any moment where it stands, also to those who stopped waiting for it.
    """

    binding: Binding
    message: Message
    """The request as it came; errors name what is in it."""
    request: HttpRequest
    project_id: str
    target: Target
    route: Route
    breakers: Breakers
    budget: RetryBudget
    read_back: ReadBack | None
    observers: Sequence[ChangeObserver] = ()
    recognised: bool = False
    """Whether a repeat of the call would be recognised as one."""
    on_bad_row: OnBadRow | None = None
    attempts: int = 0
    spent_s: float = 0.0
    unconnected_s: float = 0.0
    """What attempts in a row have taken that came to no connection."""
    began: bool = False
    announced: bool = False
    ending: ChangeResult | None = None
    """What the observers are being told."""
    sent: str = "no"
    queued: bool = False
    """Waits for its turn behind another change to the same object."""
    in_flight: bool = False
    """From the first byte of a request to the end of its answer."""
    ambiguous: bool = False
    """The last that is known is an attempt without a usable answer; more can be found out."""
    doubtful: bool = False
    """An attempt may have been carried out, or may be yet.

    Never taken back: a read without the change does not prove that it will not come.
    """
    abandoned: bool = False
    refusals: int = 0
    renewals: int = 0
    """Attempts that were repeated because the credential in them was not the newest any more."""
    last: Attempt = _NOT_SENT

    @property
    def in_doubt(self) -> bool:
        """Whether CBR may be carrying a change out, or may have done so without our knowing."""
        return not self.binding.reads and (
            self.in_flight
            or self.doubtful
            or self.ending in {ChangeResult.DONE, ChangeResult.UNKNOWN}
        )

    @property
    def unfinished(self) -> bool:
        """Whether going on without the caller can still tell what became of the call."""
        return self.in_flight or self.ambiguous or self.ending is not None

    async def observed(self, change: Callable[[], Awaitable[Message]]) -> Message:
        """Carries out the change, which ends in `run`, and tells the observers of its end."""
        self.began = True
        result, message = ChangeResult.UNKNOWN, None
        try:
            message = await change()
            result = ChangeResult.DONE
        except GatewayError as error:
            result = (
                ChangeResult.UNKNOWN
                if error.reason == errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN
                else ChangeResult.NOTHING
            )
            raise
        except asyncio.CancelledError:
            result = ChangeResult.UNKNOWN if self.doubtful else ChangeResult.NOTHING
            raise
        except BaseException:
            result = ChangeResult.NOTHING if self.sent == "no" else ChangeResult.UNKNOWN
            raise
        finally:
            self.ending = result
            failpoint.reach("before_told")
            for observer in self.observers:
                await observer.on_end(result, message, self.facts())
            failpoint.reach("after_told")
            self.ending = None
        return message

    async def run(self, start_by: Deadline, end_by: Deadline) -> Message:
        """The response.

        `start_by` bounds the start of attempts; while the outcome is in doubt, `end_by` takes its
        place. Raises GatewayError.
        """
        kind: RetryKind | None = None
        with self.budget:
            while True:
                deadline = end_by if self.ambiguous else start_by
                try:
                    generation, message = await self._attempt(deadline, end_by)
                    match self._next():
                        case Next.END:
                            return self._end(kind, message)
                        case Next.UNKNOWN:
                            raise self.outcome_unknown()
                        case Next.READ_BACK:
                            if (settled := await self._look()) is not None:
                                return settled
                        case Next.REPEAT:
                            if self.last.credentials and not await self._renewed(
                                generation, deadline
                            ):
                                raise self._failure()
                finally:
                    if kind is not None:
                        self.budget.retry_ended()
                kind = await self._again(end_by if self.ambiguous else start_by)

    def _next(self) -> Next:
        """What may follow the last attempt."""
        if self.last.outcome is Outcome.REFUSED:
            self.refusals += 1
        return what_next(self.binding.retry_class, self.last.outcome, self.refusals)

    def _before_attempt_s(self, deadline: Deadline) -> float:
        """How long an attempt may be waited for: the shortest one has to come in time."""
        return max(0.0, deadline.left_s(self.route.clock.monotonic()) - retry.MIN_ATTEMPT_S)

    async def _renewed(self, generation: int, deadline: Deadline) -> bool:
        """Whether there is a newer credential than the one that was refused.

        Raises why it could not be had.
        """
        self.renewals += 1
        if self.renewals > _MAX_RENEWALS:
            return False
        try:
            return await self.route.auth.refused(generation, self._before_attempt_s(deadline))
        except GatewayError as error:
            raise self.outcome_unknown() if self.in_doubt else error from None

    async def _attempt(self, deadline: Deadline, end_by: Deadline) -> tuple[int, Message | None]:
        """Sends the request once; `self.last` holds what it proved.

        The generation of its credential, and the response if it has brought one.
        """
        clock = self.route.clock
        if retry.attempt_timeout(deadline.left_s(clock.monotonic())) is None:
            raise self.too_late()
        try:
            applied = await self.route.auth.apply(
                self.request, self.project_id, self._before_attempt_s(deadline)
            )
        except GatewayError as error:
            raise self.outcome_unknown() if self.in_doubt else error from None
        if self.observers and not self.announced:
            await self._announce()
        timeout_s = retry.attempt_timeout(
            (deadline if self.binding.reads else end_by).left_s(clock.monotonic())
        )
        if timeout_s is None:
            raise self.too_late()
        passage = self.breakers.enter(
            self.target, Traffic.READ if self.binding.reads else Traffic.WRITE
        )
        if isinstance(passage, Held):
            raise self._held(passage)
        self.attempts += 1
        self.last = _NOT_SENT
        verdict, message, began = Verdict.NOTHING, None, clock.monotonic()
        try:
            response = await self.route.transport.send(
                applied.request, timeout_s, self._may_write, connect_s=self._connect_left_s()
            )
            verdict, message = self._answered(response, applied, began)
        except (NotSent, Lost) as error:
            verdict = self._unanswered(error)
        except BaseException:
            # Cut short by cancellation.
            self._note(ambiguous=self.in_flight)
            raise
        finally:
            self.in_flight = False
            took_s = clock.monotonic() - began
            self.spent_s += took_s
            self.unconnected_s = self.unconnected_s + took_s if self.last.connect else 0.0
            passage.settle(verdict)
        self._note(ambiguous=self.last.outcome is Outcome.AMBIGUOUS)
        return applied.generation, message

    async def _announce(self) -> None:
        """Before the first byte of a change."""
        for observer in self.observers:
            if not await observer.on_send():
                raise self.too_late()
        self.announced = True

    def _answered(
        self, response: HttpResponse, applied: Applied, began: float
    ) -> tuple[Verdict, Message | None]:
        """What an answer says to the breakers, and the response that it holds."""
        self._reach("after_answer")
        self.sent = "yes"
        self.route.auth.observe(response, applied.generation)
        self.route.remote_clock.observe(response, began)
        self.last, message = self._decode(judge(response, reads=self.binding.reads))
        failed = response.status >= _SERVER_ERROR and self.last.outcome is not Outcome.DEFINITE
        return Verdict.FAILURE if failed else Verdict.SUCCESS, message

    def _unanswered(self, error: NotSent | Lost) -> Verdict:
        """What it says to the breakers that no answer came."""
        self._reach("answer_lost")
        self.last = _unanswered(error, reads=self.binding.reads)
        known = {
            "operation": self.binding.operation,
            "url": self.request.url.partition("?")[0],
            "cause": str(error),
            "advice": error.advice,
        }
        log.warning("no answer of CBR", **known)
        return error.verdict(retry.MAX_ATTEMPT_S)

    def _connect_left_s(self) -> float:
        """All attempts together get what one gets: another wait for a host that does not even
        connect would tell nothing new.
        """
        return self.route.transport.connect_timeout_s - self.unconnected_s

    def _may_write(self) -> bool:
        """Asked by the transport before the first byte.

        A change whose caller has gone is not begun any more.
        """
        if self.abandoned and not self.ambiguous:
            return False
        for observer in self.observers:
            if not observer.may_write():
                return False
        self.in_flight = True
        if self.sent == "no":
            self.sent = "maybe"
        self._reach("before_first_byte")
        return True

    def _reach(self, place: failpoint.Name) -> None:
        """A failpoint that reads do not have."""
        if self.observers:
            failpoint.reach(place)

    def _note(self, *, ambiguous: bool) -> None:
        self.ambiguous = self.ambiguous or ambiguous
        self.doubtful = self.doubtful or (ambiguous and not self.binding.reads)

    def _decode(self, attempt: Attempt) -> tuple[Attempt, Message | None]:
        """A success whose body has the wrong shape proves nothing."""
        if attempt.value is None:
            return attempt, None
        try:
            message = self.binding.response(attempt.value, self.on_bad_row)
            keep_ids(message, attempt.order_ids)
        except ProtocolError as error:
            return replace(attempt, outcome=Outcome.AMBIGUOUS, value=None, problem=str(error)), None
        return attempt, message

    def _end(self, kind: RetryKind | None, message: Message | None) -> Message:
        if message is not None:
            if kind is None:
                self.budget.first_try_succeeded()
            return message
        attempt, error = self.last, self._failure()
        if self.in_doubt and error.code in _CAUSED_BY_OURSELVES:
            if (
                self.binding.retry_class is RetryClass.DELETE
                and attempt.error is not None
                and attempt.error.gone
            ):
                return self.binding.response_type()
            raise self.outcome_unknown()
        raise error

    async def _look(self) -> Message | None:
        assert self.read_back is not None
        self._reach("before_read_back")
        try:
            settled = await self.read_back()
        except GatewayError:
            raise self.outcome_unknown() from None
        # Nothing more can be found out now; a change that a read does not show may still come.
        self.ambiguous = False
        return settled

    async def _again(self, deadline: Deadline) -> RetryKind | None:
        """Waits before the next attempt, or raises what the last one comes to.

        On return the budget is taken for the kind of retry.

        None where only the credential was renewed: that says nothing of CBR's health, so it takes
        no time, no budget and no attempt.
        """
        if self.abandoned and not self.ambiguous:
            # Nothing is left to find out, and nobody is there to want it done.
            raise self._failure()
        if self.last.credentials:
            self._reach("before_repeat")
            return None
        if self.last.connect and self._connect_left_s() < retry.MIN_ATTEMPT_S:
            raise self._failure()
        kind = RetryKind.THROTTLED if self.last.throttled else RetryKind.TRANSIENT
        left_s = deadline.left_s(self.route.clock.monotonic())
        # Jitter, not a secret.
        delay_s = retry.next_delay(
            self.attempts - self.renewals,
            kind,
            retry_after_s=self.last.retry_after_s,
            time_left_s=left_s,
            random=random.random,
        )
        if delay_s is None or not self.budget.take(kind):
            raise self._failure()
        self._reach("before_repeat")
        try:
            await self.route.clock.sleep(delay_s)
        except BaseException:
            self.budget.retry_ended()
            raise
        return kind

    # How a call ends when it does not succeed
    # ------------------------------------------------------------------------------------

    def facts(self) -> UpstreamFacts:
        """What is known so far; for logs and errors."""
        code = self.last.error.code if self.last.error else ""
        return UpstreamFacts(
            self.attempts,
            self.sent,
            self.last.status,
            code,
            self.last.request_id,
            self.spent_s,
            self.last.order_ids,
        )

    def _failure(self) -> GatewayError:
        attempt = self.last
        if self.in_doubt and attempt.outcome is not Outcome.DEFINITE:
            return self.outcome_unknown()
        if attempt.problem:
            text = (
                f"The answer of CBR is not what its API describes: {attempt.problem}; report it to"
                " the gateway's operator."
            )
            kind = AnswerTooLarge if attempt.problem == TOO_LARGE else GatewayError
            return kind(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text, upstream=self.facts())
        if attempt.error is not None:
            named = named_in_body(self.binding, self.message)
            subject = {
                segment.variable: str(getattr(self.message, segment.variable))
                for segment in self.binding.segments
            }
            error = to_gateway_error(attempt.error, self.binding, self.facts(), subject, named)
            if error.retry_after_s is not None and attempt.retry_after_s is not None:
                error.retry_after_s = max(error.retry_after_s, attempt.retry_after_s)
            return error
        if attempt.outcome is Outcome.NEVER_SENT:
            why = (
                f"could not be reached ({attempt.connect.problem})"
                if attempt.connect
                else "could not be reached,"
            )
            if attempt.no_place:
                why = (
                    "is slow to answer the tenant's calls, which have taken all connections that"
                    " one tenant may have,"
                )
            return self._unreachable(_RETRY_AFTER_S, why)
        what = "did not answer in time" if attempt.timed_out else "broke the connection"
        text = f"CBR {what}; repeating is safe."
        return GatewayError(
            errors_pb2.ERROR_REASON_UPSTREAM_UNAVAILABLE,
            text,
            retry_after_s=_RETRY_AFTER_S,
            upstream=self.facts(),
        )

    def _held(self, held: Held) -> GatewayError:
        """Not sent, because it would most likely fail again."""
        others = ", others are not affected"
        what, whom = {
            Level.HOST: ("connections to CBR have been failing", ""),
            Level.ENDPOINT: ("CBR has been failing for most tenants", ""),
            Level.PROJECT: ("CBR has been failing for most calls in this project", others),
            Level.OPERATION: (
                f"CBR has been failing for {self.binding.operation} in this project",
                others,
            ),
            Level.OBJECT: (
                f"CBR has been failing for {self.binding.operation} of this object",
                others,
            ),
        }[held.level]
        if self.in_doubt:
            return self.outcome_unknown()
        retry_after_s = max(held.retry_after_s, _RETRY_AFTER_S)
        nothing = "nothing was sent" if self.sent == "no" else "nothing was carried out"
        text = (
            f"{what}, so such calls are held back and {nothing}; repeat it in"
            f" {math.ceil(retry_after_s)} s{whom}."
        )
        known = {"heldBack": held.level.value}
        return GatewayError(
            errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE,
            text,
            retry_after_s=retry_after_s,
            upstream=self.facts(),
            metadata=known,
        )

    def _unreachable(self, retry_after_s: float, why: str) -> GatewayError:
        if self.in_doubt:
            return self.outcome_unknown()
        what = "sent" if self.sent == "no" else "carried out"
        text = f"CBR {why} and nothing was {what}; repeating is safe."
        return GatewayError(
            errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE,
            text,
            retry_after_s=retry_after_s,
            upstream=self.facts(),
        )

    def too_late(self) -> GatewayError:
        """The time is up and nothing is in doubt: what the call waits for, or what the last attempt
        came to, if there was one.
        """
        if self.queued:
            text = (
                "Another change to the same object is under way in this gateway; wait for it, then"
                " repeat. Nothing was sent."
            )
            return GatewayError(
                errors_pb2.ERROR_REASON_RESOURCE_BUSY,
                text,
                retry_after_s=_RETRY_AFTER_S,
                upstream=self.facts(),
            )
        if self.attempts:
            return self._failure()
        text = "The deadline leaves no time for a call to CBR; give the call at least 400 ms."
        return GatewayError(errors_pb2.ERROR_REASON_DEADLINE_TOO_SHORT, text, upstream=self.facts())

    def shutting_down(self) -> GatewayError:
        """The process ends before the call does."""
        if self.in_doubt:
            return self.outcome_unknown()
        what = (
            "nothing was changed" if self.binding.reads or self.sent != "no" else "nothing was sent"
        )
        text = (
            f"The gateway is shutting down and {what}; repeat the call, and another process"
            " answers."
        )
        return GatewayError(
            errors_pb2.ERROR_REASON_SHUTTING_DOWN,
            text,
            retry_after_s=_RETRY_AFTER_S,
            upstream=self.facts(),
        )

    def outcome_unknown(self) -> GatewayError:
        """The change was sent, and nobody knows whether it was carried out.

        UNAVAILABLE only where a repeat is recognised: programs repeat that.
        """
        advice = (
            "repeat it with the same request_id"
            if self.recognised
            else "read the object, and repeat only if the change is absent"
        )
        text = (
            f"{self.binding.operation} was sent, but whether CBR carried it out is not known;"
            f" {advice}."
        )
        code = (
            code_pb2.UNAVAILABLE
            if self.recognised
            else REASONS[errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN].code
        )
        return GatewayError(
            errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN, text, upstream=self.facts(), code=code
        )


def _unanswered(error: NotSent | Lost, *, reads: bool) -> Attempt:
    if isinstance(error, NotSent):
        return Attempt(
            Outcome.NEVER_SENT, connect=error.connect, no_place=isinstance(error, NoPlace)
        )
    if isinstance(error, TooLarge):
        # Of a read the next answer would be as large.
        return Attempt(Outcome.DEFINITE if reads else Outcome.AMBIGUOUS, problem=TOO_LARGE)
    return Attempt(Outcome.AMBIGUOUS, timed_out=error.timed_out)
