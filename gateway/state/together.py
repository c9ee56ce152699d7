"""What the owner of an embedded store has in memory for the workers that share it: rates, leases,
who is there, and what one of them has read for all.

An owner that follows a killed one begins without it. Debts of rates are forgiven then; for
`_DOUBT_S` whoever says that it holds a place does; and a process that is heard again has had a
break, so that nobody takes another one for gone too soon (`heartbeat.py`).
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from gateway.clock import Clock
from gateway.state.alone import OwnLimits
from gateway.state.channel import Heard

_DOUBT_S: Final = 15.0
"""By then every place that an earlier owner gave was renewed, or is over."""
_KEPT: Final = 4
"""Of a channel."""
_KEPT_S: Final = 60.0
_WAIT_S: Final = 0.2
"""How long `heard` waits for news."""


class SharedOwnLimits(OwnLimits):
    """A RateLimiter and Leases for several processes. `follows`: another owner, that was killed."""

    def __init__(self, clock: Clock, *, follows: bool) -> None:
        super().__init__(clock)
        self._clock = clock
        self._sure_at = clock.monotonic() + _DOUBT_S * follows
        self._there: dict[str, float] = {}
        """Until when each process is there."""

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        if self._clock.monotonic() < self._sure_at:
            self._limits.hold(holder, keys, ttl_s)
            return True
        return await super().renew(holder, keys, ttl_s)

    async def beat(self, process: str, ttl_s: float) -> tuple[bool, frozenset[str]]:
        now = self._clock.monotonic()
        self._there = {name: until for name, until in self._there.items() if until > now}
        unbroken = process in self._there
        self._there[process] = now + ttl_s
        return unbroken, frozenset(self._there)

    async def left(self, process: str) -> None:
        self._there.pop(process, None)


class _Published(Struct, frozen=True):
    position: int
    at: float
    payload: bytes


class SharedChannel:
    """A Channel for several processes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._channels: dict[str, deque[_Published]] = defaultdict(lambda: deque(maxlen=_KEPT))
        self._last = 0
        self._news = asyncio.Event()

    async def publish(self, channel: str, payload: bytes) -> None:
        now = self._clock.monotonic()
        # Behind all positions of an earlier owner.
        self._last = max(self._last + 1, round(now * 1e9))
        self._forget(now)
        self._channels[channel].append(_Published(self._last, now, payload))
        self._news.set()
        self._news = asyncio.Event()

    async def heard(self, after: Mapping[str, str]) -> list[Heard]:
        news = self._news
        if not (found := self._found(after)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), _WAIT_S)
            found = self._found(after)
        return found

    def _found(self, after: Mapping[str, str]) -> list[Heard]:
        now = self._clock.monotonic()
        return [
            Heard(channel, str(each.position), now - each.at, each.payload)
            for channel, position in after.items()
            for each in self._channels.get(channel, ())
            if each.position > int(position) and now - each.at < _KEPT_S
        ]

    def _forget(self, now: float) -> None:
        for channel in [
            name for name, kept in self._channels.items() if now - kept[-1].at >= _KEPT_S
        ]:
            del self._channels[channel]
