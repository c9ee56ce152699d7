"""One call to CBR with all of its attempts: when to repeat, when to read back, and which error to end with.

What an attempt proves is judged in outcome.py, how long to wait in retry.py; here they are put together with the breaker, the retry budget
and the credential.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2

from gateway.clock import Clock
from gateway.errors import GatewayError, UpstreamFacts
from gateway.upstream import retry
from gateway.upstream.auth import Authenticator
from gateway.upstream.breaker import Breaker, Verdict
from gateway.upstream.budget import RetryBudget
from gateway.upstream.declaration import Binding, RetryClass
from gateway.upstream.faults import to_gateway_error
from gateway.upstream.http import HttpRequest, Lost, NotSent, TooLarge, Transport
from gateway.upstream.outcome import Attempt, Next, Outcome, judge, what_next
from gateway.upstream.retry import Deadline, RetryKind
from gateway.upstream.values import ProtocolError

_SERVER_ERROR: Final = 500
_RETRY_AFTER_S: Final = 1.0
_CAUSED_BY_OURSELVES: Final = frozenset({code_pb2.ABORTED, code_pb2.FAILED_PRECONDITION})
"""What a repeated DELETE may be told because the attempt before it is still being carried out."""

ReadBack = Callable[[], Awaitable[Message | None]]
"""The response that the change would have had, if a read shows it in force; None if it is absent. Raises GatewayError when the read fails."""


@dataclass(frozen=True, slots=True)
class Route:
    """What the calls of one account share on their way to one region endpoint."""

    transport: Transport
    auth: Authenticator
    breaker: Breaker
    budget: RetryBudget
    clock: Clock


@dataclass(slots=True)
class Exchange:
    """One call. `sent` tells at any moment whether the request left the process, also to those who stopped waiting for it."""

    binding: Binding
    request: HttpRequest
    project_id: str
    route: Route
    read_back: ReadBack | None
    has_request_id: bool
    subject: dict[str, str]
    attempts: int = 0
    sent: str = "no"
    in_flight: bool = False
    ambiguous: bool = False
    abandoned: bool = False
    refusals: int = 0
    renewed: bool = False
    last: Attempt = field(default_factory=lambda: Attempt(Outcome.NEVER_SENT))

    @property
    def in_doubt(self) -> bool:
        """Whether CBR may be carrying the call out, or may have done so without our knowing."""
        return self.in_flight or self.ambiguous

    async def run(self, start_by: Deadline, end_by: Deadline) -> Message:
        """The response. `start_by` bounds the start of attempts; while the outcome is in doubt, `end_by` takes its place. Raises GatewayError."""
        with self.route.budget.call():
            kind: RetryKind | None = None
            while True:
                deadline = end_by if self.ambiguous else start_by
                try:
                    settled = await self._step(kind, deadline, end_by)
                finally:
                    if kind is not None:
                        self.route.budget.retry_ended()
                if settled is not None:
                    return settled
                kind = RetryKind.THROTTLED if self.last.throttled else RetryKind.TRANSIENT
                await self._pause(kind, end_by if self.ambiguous else start_by)

    async def _step(self, kind: RetryKind | None, deadline: Deadline, end_by: Deadline) -> Message | None:
        """One attempt and what follows from it: the response, None to repeat, or the error."""
        generation, message = await self._attempt(deadline, end_by)
        attempt = self.last
        if attempt.outcome is Outcome.REFUSED:
            self.refusals += 1
        match what_next(self.binding.retry_class, attempt.outcome, self.refusals):
            case Next.END:
                return self._end(kind, message)
            case Next.UNKNOWN:
                raise self.outcome_unknown()
            case Next.READ_BACK:
                return await self._look()
            case Next.REPEAT:
                if attempt.credentials and (self.renewed or not await self.route.auth.refused(generation)):
                    raise self._failure()
                self.renewed = self.renewed or attempt.credentials
        return None

    async def _attempt(self, deadline: Deadline, end_by: Deadline) -> tuple[int, Message | None]:
        """Sends the request once; `self.last` holds what it proved."""
        clock = self.route.clock
        if retry.attempt_timeout(deadline.left_s(clock.monotonic())) is None:
            raise self.too_late()
        try:
            applied = await self.route.auth.apply(self.request, self.project_id, deadline.left_s(clock.monotonic()))
        except GatewayError as error:
            raise self.outcome_unknown() if self.ambiguous else error from None
        timeout_s = retry.attempt_timeout((deadline if self.binding.reads else end_by).left_s(clock.monotonic()))
        if timeout_s is None:
            raise self.too_late()
        permit = self.route.breaker.acquire()
        if permit is None:
            raise self._unreachable(max(self.route.breaker.retry_after_s(), _RETRY_AFTER_S))
        self.attempts += 1
        before, self.sent = self.sent, "maybe" if self.sent == "no" else self.sent
        verdict, message = Verdict.NOTHING, None
        self.in_flight = True
        try:
            response = await self.route.transport.send(applied.request, timeout_s)
            self.sent = "yes"
            self.route.auth.observe(response)
            self.last, message = self._decode(judge(response))
            verdict = Verdict.FAILURE if response.status >= _SERVER_ERROR and self.last.outcome is not Outcome.DEFINITE else Verdict.SUCCESS
        except NotSent:
            self.sent = before
            self.last, verdict = Attempt(Outcome.NEVER_SENT), Verdict.FAILURE
        except Lost as lost:
            problem = "the body is too large" if isinstance(lost, TooLarge) else ""
            self.last, verdict = Attempt(Outcome.AMBIGUOUS, problem=problem, timed_out=lost.timed_out), Verdict.FAILURE
        finally:
            self.in_flight = False
            self.route.breaker.settle(permit, verdict)
        self.ambiguous = self.ambiguous or self.last.outcome is Outcome.AMBIGUOUS
        return applied.generation, message

    def _decode(self, attempt: Attempt) -> tuple[Attempt, Message | None]:
        """A success whose body has the wrong shape proves nothing."""
        if attempt.value is None:
            return attempt, None
        try:
            return attempt, self.binding.response(attempt.value)
        except ProtocolError as error:
            return replace(attempt, outcome=Outcome.AMBIGUOUS, value=None, problem=str(error)), None

    def _end(self, kind: RetryKind | None, message: Message | None) -> Message:
        if message is not None:
            if kind is None:
                self.route.budget.first_try_succeeded()
            return message
        error = self._failure()
        if self.binding.retry_class is RetryClass.DELETE and self.ambiguous:
            if error.code == code_pb2.NOT_FOUND:
                return self.binding.response_type()
            if error.code in _CAUSED_BY_OURSELVES:
                raise self.outcome_unknown()
        raise error

    async def _look(self) -> Message | None:
        assert self.read_back is not None
        try:
            settled = await self.read_back()
        except GatewayError:
            raise self.outcome_unknown() from None
        # The read has settled the question either way.
        self.ambiguous = False
        return settled

    async def _pause(self, kind: RetryKind, deadline: Deadline) -> None:
        """Waits before the next attempt, or raises what the last one comes to. On return the budget is taken."""
        if self.abandoned and not self.ambiguous:
            # Nothing is left to find out, and nobody is there to want it done.
            raise self._failure()
        left_s = deadline.left_s(self.route.clock.monotonic())
        # Jitter, not a secret.
        delay_s = retry.next_delay(self.attempts, kind, retry_after_s=self.last.retry_after_s, time_left_s=left_s, random=random.random)
        if delay_s is None or not self.route.budget.take(kind):
            raise self._failure()
        try:
            await self.route.clock.sleep(delay_s)
        except BaseException:
            self.route.budget.retry_ended()
            raise

    # How a call ends when it does not succeed ------------------------------------------------------------------------------------

    def facts(self) -> UpstreamFacts:
        """What is known so far; for logs and errors."""
        code = self.last.error.code if self.last.error else ""
        return UpstreamFacts(self.attempts, self.sent, self.last.status, code, self.last.request_id)

    def _failure(self) -> GatewayError:
        attempt = self.last
        if self.ambiguous and not self.binding.reads and attempt.outcome is not Outcome.DEFINITE:
            return self.outcome_unknown()
        if attempt.problem:
            text = f"The answer of CBR is not what its API describes: {attempt.problem}; report it to the gateway's operator."
            return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text, upstream=self.facts())
        if attempt.error is not None:
            return to_gateway_error(attempt.error, self.binding, self.facts(), self.subject)
        if attempt.outcome is Outcome.NEVER_SENT:
            return self._unreachable(_RETRY_AFTER_S)
        what = "did not answer in time" if attempt.timed_out else "broke the connection"
        text = f"CBR {what}; repeating is safe."
        return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_UNAVAILABLE, text, retry_after_s=_RETRY_AFTER_S, upstream=self.facts())

    def _unreachable(self, retry_after_s: float) -> GatewayError:
        if self.ambiguous and not self.binding.reads:
            return self.outcome_unknown()
        text = "CBR could not be reached and nothing was sent; repeating is safe."
        return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_UNREACHABLE, text, retry_after_s=retry_after_s, upstream=self.facts())

    def too_late(self) -> GatewayError:
        """The time is up and nothing is in doubt: what the last attempt came to, if there was one."""
        if self.attempts:
            return self._failure()
        text = "The deadline leaves no time for a call to CBR; give the call at least 400 ms."
        return GatewayError(errors_pb2.ERROR_REASON_DEADLINE_TOO_SHORT, text, upstream=self.facts())

    def outcome_unknown(self) -> GatewayError:
        """The change was sent, and nobody knows whether it was carried out."""
        text = (
            f"{self.binding.operation} was sent, but whether CBR carried it out is not known; "
            "read the object, and repeat only if the change is absent."
        )
        code = code_pb2.UNAVAILABLE if self.has_request_id else code_pb2.UNKNOWN
        return GatewayError(errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN, text, upstream=self.facts(), code=code)
