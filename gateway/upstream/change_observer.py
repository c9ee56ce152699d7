"""Who must hear of a change, and what became of it."""

from collections.abc import Awaitable, Callable
from enum import Enum

from google.protobuf.message import Message
from msgspec import Struct

from gateway.errors import GatewayError, UpstreamFacts


class ChangeResult(Enum):
    """What became of a change."""

    DONE = "carried out"
    NOTHING = "nothing happened"
    UNKNOWN = "not known"


class ChangeObserver(Struct, frozen=True):
    """Who must hear of a change.

    Both run in the change's own task, so also when its caller has gone.

    `on_send`: before the first byte goes to CBR; False: it must not go, and observers that come
    later do not hear of it. `on_end`: once, with the response if the change was carried out, and
    what is known of the calls. `stopped`: right before the first byte of every attempt, and asked
    without a pause; an error: it must not go any more, and why.
    """

    on_send: Callable[[], Awaitable[bool]]
    on_end: Callable[[ChangeResult, Message | None, UpstreamFacts], Awaitable[None]]
    stopped: Callable[[], GatewayError | None] = lambda: None
