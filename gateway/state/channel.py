"""What one process has read for all that share the store."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class Heard(Struct, frozen=True):
    """Something that was published.

    `position`: what to ask from next; `ago_s`: how long ago it was published, at most.
    """

    channel: str
    position: str
    ago_s: float
    payload: bytes


class Channel(Protocol):
    """From process to process."""

    async def publish(self, channel: str, payload: bytes) -> None:
        """Lets the processes that share the store hear of it.

        Only the last few of a channel are kept, for a minute: it may be lost.
        """
        ...

    async def heard(self, after: Mapping[str, str]) -> list[Heard]:
        """What was published on each channel after a position, in its order; the position before
        all others is `0`. Waits a moment for it.

        A store that is one process's alone has nothing to tell, and then this never returns.
        """
        ...
