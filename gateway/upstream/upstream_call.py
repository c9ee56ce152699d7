"""One call to CBR with all its attempts: what it sends, and how far it has come."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from google.protobuf.message import Message

from gateway import failpoint
from gateway.clock import Clock
from gateway.errors import GatewayError, UpstreamFacts
from gateway.upstream.auth import Authenticator
from gateway.upstream.breakers import Breakers
from gateway.upstream.budget import RetryBudget
from gateway.upstream.change_observer import ChangeObserver, ChangeResult
from gateway.upstream.declaration import Binding, OnBadRow
from gateway.upstream.http import HttpRequest, Transport
from gateway.upstream.meter import UpstreamMeter
from gateway.upstream.outcome import Attempt, Outcome
from gateway.upstream.remote_clock import RemoteClock
from gateway.upstream.send_state import IN_DOUBT, UNFINISHED, UNSENT, SendState, after_attempt
from gateway.upstream.target import Target

NOT_SENT: Final = Attempt(Outcome.NEVER_SENT)

ReadBack = Callable[[], Awaitable[Message | None]]
"""The response that the change would have had, if a read shows it in force; None if it is absent.

Raises GatewayError when the read fails.
"""


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The response and what it took."""

    message: Message
    upstream: UpstreamFacts


class Route(msgspec.Struct, frozen=True):
    """What the calls of one account share on their way to one region endpoint."""

    transport: Transport
    auth: Authenticator
    clock: Clock
    remote_clock: RemoteClock
    meter: UpstreamMeter


class UpstreamCall(msgspec.Struct, eq=False):
    """One call.

    It tells at any moment where it stands, also to those who stopped waiting for it.
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
    read_back: ReadBack | None = None
    observers: Sequence[ChangeObserver] = ()
    recognised: bool = False
    """Whether a repeat of the call would be recognised as one."""
    on_bad_row: OnBadRow | None = None
    check: Callable[[], Awaitable[None]] | None = None
    """Of a change: asked before anything is sent; may raise GatewayError."""
    state: SendState = SendState.NEW
    result: ChangeResult | None = None
    """What became of the change, from when its observers are told."""
    abandoned: bool = False
    """Nobody waits for it any more."""
    stopped: GatewayError | None = None
    """Why it must not be sent any more."""
    last: Attempt = NOT_SENT
    attempts: int = 0
    answers: int = 0
    refusals: int = 0
    renewals: int = 0
    """Attempts that were repeated because the credential in them was not the newest any more."""
    spent_s: float = 0.0
    unconnected_s: float = 0.0
    """What attempts in a row have taken that came to no connection."""

    @property
    def unsent(self) -> bool:
        return self.state in UNSENT

    @property
    def in_doubt(self) -> bool:
        """Whether CBR may be carrying a change out, or may have done so without our knowing."""
        return not self.binding.reads and (
            self.state in IN_DOUBT or self.result in (ChangeResult.DONE, ChangeResult.UNKNOWN)
        )

    @property
    def unfinished(self) -> bool:
        """Whether going on without the caller can still tell what became of the call."""
        return self.state in UNFINISHED or self.result is not None

    @property
    def unwanted(self) -> bool:
        """Nobody is there to want it done, and nothing is left to find out."""
        return self.abandoned and self.state is not SendState.UNANSWERED

    @property
    def connect_left_s(self) -> float:
        """All attempts together get what one gets: another wait for a host that does not even
        connect would tell nothing new.
        """
        return self.route.transport.connect_timeout_s - self.unconnected_s

    def may_write(self) -> bool:
        """Asked by the transport before the first byte.

        A change whose caller has gone is not begun any more.
        """
        if self.unwanted:
            return False
        for observer in self.observers:
            self.stopped = observer.stopped()
            if self.stopped is not None:
                return False
        self.state = SendState.IN_FLIGHT
        self.reach("before_first_byte")
        return True

    def attempt_ended(self, before: SendState, took_s: float) -> None:
        """`before`: the state in which the attempt began; `last` holds what it has proved."""
        self.state = after_attempt(before, self.state, self.last.outcome)
        self.spent_s += took_s
        self.unconnected_s = self.unconnected_s + took_s if self.last.connect else 0.0

    def reach(self, place: failpoint.Name) -> None:
        """A failpoint that reads do not have."""
        if self.observers:
            failpoint.reach(place)

    def facts(self) -> UpstreamFacts:
        """What is known so far; for logs and errors."""
        last = self.last
        return UpstreamFacts(
            self.attempts,
            "yes" if self.answers else "no" if self.state in UNSENT else "maybe",
            last.status,
            last.error.code if last.error else "",
            last.request_id,
            self.spent_s,
            last.order_ids,
        )
