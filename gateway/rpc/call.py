"""One call on its way through the gateway."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from gateway.errors import UpstreamFacts, Violation
from gateway.ids import new_id
from gateway.limits.limits import Scope
from gateway.limits.slots import ConcurrencySlots
from gateway.rpc.context import Context
from gateway.tenants import Principal, Project, Snapshot
from gateway.upstream.account import Account
from gateway.upstream.change_observer import ChangeObserver
from gateway.upstream.declaration import Binding
from gateway.upstream.losses import Loss


@dataclass(slots=True)
class Call:
    """What is known of a call; stages fill it in from the outside to the inside."""

    binding: Binding
    time_left_s: float | None
    """Until the caller's deadline; None when it set none."""
    snapshot: Snapshot
    id: str = field(default_factory=new_id)
    log_fields: dict[str, object] = field(default_factory=dict)
    """Whose call it is, for every line that is written meanwhile.

    Apart from the call, since timers and connections outlive it and keep these.
    """
    started: float = field(default_factory=time.monotonic)
    trace_id: str = ""
    """Of the trace that it belongs to, if it is known."""
    principal: Principal | None = None
    project: Project | None = None
    account: Account = field(init=False)
    """The way into the project."""
    quota_scope: Scope = field(init=False)
    """Whose limits count."""
    scope: str = field(init=False)
    """Names the tenant and project, for page tokens."""
    hidden: frozenset[str] = field(init=False)
    """Kinds of objects of which the caller is told no more than that there are some."""
    place: str = ""
    """The tenant that holds a place for it among the calls that are carried out; empty: none."""
    slots: ConcurrencySlots | None = None
    """What the call occupies under limits of concurrency."""
    trailers: dict[str, str] = field(default_factory=dict)
    """For the caller, beside its answer or error."""
    outcome: str = "OK"
    reason: str = ""
    violations: Sequence[Violation] = ()
    """Of the error that it ended with."""
    upstream: UpstreamFacts = field(default_factory=UpstreamFacts)
    request: Message | None = None
    validates: bool = False
    """It only asks what a change would do (`validate_only`)."""
    response: Message | None = None
    messages: int | None = None
    """How many were written, where the answer is a stream that was opened."""
    moved: Callable[[], None] = lambda: None
    """To be told when the stream was opened, and after each message."""
    looks_at_others: bool = False
    """An administrator reads of other tenants: that is recorded, with its request, in any case."""
    observers: tuple[ChangeObserver, ...] = ()
    """Who must hear of the change, if the call is one."""
    losses: list[Loss] = field(default_factory=list)
    """What the change destroys beside its object."""

    def note_upstream(self, facts: UpstreamFacts) -> None:
        """Keeps what is known of the calls to CBR, for the call's line in the log."""
        self.upstream = facts


class CallMeter(Protocol):
    """Hears of calls, to count or to trace them. Takes next to no time, and raises nothing.

    `started` and `ended` of a call are called in the same context.
    """

    def started(self, call: Call, context: Context) -> None: ...

    def ended(self, call: Call) -> None: ...

    def unknown_rpc(self, outcome: str, reason: str, context: Context) -> None:
        """A call of an RPC that does not exist."""
        ...


class NoCallMeter:
    """Counts nothing."""

    def started(self, call: Call, context: Context) -> None: ...

    def ended(self, call: Call) -> None: ...

    def unknown_rpc(self, outcome: str, reason: str, context: Context) -> None: ...


Handler = Callable[[Call, Message], Awaitable[Message]]
"""Carries out one unary RPC: the call and its valid request to the response."""
