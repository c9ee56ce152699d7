"""What waits to be sent on one stream, bounded by the number of tasks: of each task only the newest
state waits.
"""

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct, field

from gateway.watch.row import Row
from gateway.watch.wake import Wake

Token: TypeAlias = str | Callable[[], str]
"""A resume token, or what makes it once it is needed."""


class Pending(Struct):
    """One event.

    `before`: the token of a stream that has told everything before it; `coalesced`: states of the
    task that it replaces.
    """

    item: Row | bytes
    before: Token
    coalesced: int = 0

    def encoded(self) -> bytes:
        return self.item if isinstance(self.item, bytes) else self.item.change(self.coalesced)


class StreamCounts(Struct):
    """Of all streams of the process since it started. `cuts`: by why we ended them."""

    sent: int = 0
    coalesced: int = 0
    cuts: Counter[str] = field(default_factory=Counter)


class SendQueue:
    """`wake` is set whenever there may be something to do for the stream."""

    __slots__ = ("_counts", "_pending", "wake")

    def __init__(self, counts: StreamCounts | None = None) -> None:
        self.wake = Wake()
        self._pending: dict[str, Pending] = {}
        self._counts = counts or StreamCounts()

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, key: str, item: Row | bytes, before: Token) -> None:
        """Adds an event, or lets it take the place of the one that waits under the same key."""
        waiting = self._pending.get(key)
        if waiting is None:
            self._pending[key] = Pending(item, before)
        else:
            waiting.item = item
            waiting.coalesced += 1
            self._counts.coalesced += 1
        self.wake.set()

    def pop(self, now: str) -> tuple[bytes, str] | None:
        """The next event and the token that holds once it is sent: `now` when nothing waits behind
        it, else that of the next one.
        """
        if not self._pending:
            return None
        first = self._pending.pop(next(iter(self._pending)))
        following = next(iter(self._pending.values()), None)
        token = now if following is None else following.before
        return first.encoded(), token if isinstance(token, str) else token()
