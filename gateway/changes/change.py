"""A change that a caller asks for, and its answer."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from google.protobuf.message import Message
from msgspec import Struct, field

from gateway.changes.guard_settings import GuardSettings
from gateway.errors import UpstreamFacts
from gateway.limits.limits import Scope
from gateway.limits.slots import ConcurrencySlots
from gateway.upstream.account import Account
from gateway.upstream.change_observer import ChangeObserver
from gateway.upstream.declaration import Binding
from gateway.upstream.losses import Loss


class Change(Struct, frozen=True):
    """A change that a caller asks for. `id` names the call and becomes the operation's."""

    id: str
    binding: Binding
    request: Any
    scope: Scope
    account: Account
    time_left_s: float | None
    slots: ConcurrencySlots
    on_left: Callable[[UpstreamFacts], None]
    trace_id: str = ""
    observers: Sequence[ChangeObserver] = ()
    """Who else must hear of it, before the store does."""
    guards: GuardSettings = field(default_factory=GuardSettings)
    hidden: Collection[str] = ()
    """Kinds of objects of which the caller is told no more than that there are some."""
    losses: list[Loss] = field(default_factory=list)
    """What it destroys beside its object, filled in right before it is sent."""
    instead: "Callable[[], Awaitable[Answer]] | None" = None
    """What is done where nothing of it is left for CBR."""


class Answer(Struct, frozen=True):
    """The response, and whether it is that of an earlier call with the same request_id."""

    message: Message
    upstream: UpstreamFacts = field(default_factory=UpstreamFacts)
    replayed: bool = False
