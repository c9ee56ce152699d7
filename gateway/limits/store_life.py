"""Lives of the store's data: what a gateway does when it meets another one.

A store that was restarted may have lost counts and changes that are on their way. It is told anew
what this process has sent, and nothing is counted or grows until every gateway has done so; what
one had sent that is gone, CBR has to show first.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import Struct, field

from gateway.clock import Clock
from gateway.limits import refusals
from gateway.state import Life, StoreDown

_WORTH_TELLING_S: Final = 1.0
"""A wait that is longer than was said by less is the same one."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class StoreLife(Struct):
    """One per process."""

    data: Life
    clock: Clock
    settle_s: float
    """How late a list of CBR may be."""
    restore: Callable[[], Awaitable[None]]
    """Tells a store that lost its data what this process has sent. Raises StoreDown."""
    process: str
    """This one, as the store knows it."""
    notice_s: float
    """After the store was restarted: by then every gateway has told it anew what is on its way, and
    CBR may be counted.
    """
    number: int = 0
    """How many lives of the store's data have been seen: another number says that they may be lost,
    and what was counted with them.
    """
    count_from: float = -math.inf
    """No count that began earlier is taken in, and nothing grows before."""
    forgot: bool = False
    """These data may lack what a process has sent, so that earlier counts may be too low."""
    _epoch: str = ""
    """Of this life."""
    _told: int = 0
    """The last life that knows what this process has sent."""
    _noticed_at: float = -math.inf
    """By then every gateway that is there has told this life what it has sent."""
    _look_at: float = -math.inf
    """When to look again how long it is too early to count."""
    _warned_until: float = -math.inf
    _noticing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Tells `listener` that what was counted counts no longer."""
        self._listeners.append(listener)

    @property
    def wait_s(self) -> float:
        """How long it is too early to count; not above zero once it is not."""
        return self.count_from - self.clock.monotonic()

    async def check(self) -> None:
        """A store that lost its data has to be counted anew. Raises StoreDown."""
        epoch = await self.data.epoch()
        if epoch != self._epoch:
            self._begin(epoch)
        if self.clock.monotonic() < self._look_at:
            return
        async with self._noticing:
            if self.clock.monotonic() >= self._look_at:
                await self._look(self.number, self.clock.monotonic())

    async def _look(self, life: int, now: float) -> None:
        wait_s = await self._too_early_s(now)
        if wait_s > 0 and now + wait_s > self._warned_until + _WORTH_TELLING_S:
            self._warned_until = now + wait_s
            log.error(
                "the store lost data, or is new; growth under limits waits",
                seconds=round(wait_s, 1),
            )
        if life == self.number:
            self.count_from = now + wait_s
        if self._told != life:
            if life > 1:
                await self.restore()
            await self.data.told(self.process)
            self._told = life
        if life == self.number:
            self._look_at = now + min(wait_s, self.notice_s) if wait_s > 0 else math.inf

    async def _too_early_s(self, now: float) -> float:
        """How long from now it is too early to count.

        What was sent before the data began, or to a server that has come back without its last
        writes, may be recorded nowhere, and CBR may take so long to show it.
        """
        waits_s = [self.settle_s - await self.data.age_s(), self._noticed_at - now]
        if now >= self._noticed_at:
            silence_s = await self.data.silence_s()
            waits_s.append(self.settle_s - silence_s)
            if silence_s < math.inf and not self.forgot:
                self.forgot = True
                self._tell_listeners()
        return max(waits_s)

    def check_wait(self) -> None:
        """Raises QUOTA_STORE_DOWN while it is too early to count."""
        if (left_s := self.wait_s) > 0:
            raise refusals.data_lost(left_s)

    async def check_still(self, began: float) -> None:
        """Right before a count is told, which the store then takes for its present life.

        Raises StoreDown if the count began too early for that.
        """
        await self.check()
        if began < self.count_from:
            raise StoreDown(
                "a count began before the data of the store were lost, or too soon after"
            )

    def _begin(self, epoch: str) -> None:
        """At once, so that no count under way is taken for one of this life."""
        self._epoch = epoch
        self.number += 1
        now = self.clock.monotonic()
        self.count_from = now + max(self.settle_s, self.notice_s)
        self._look_at = self._warned_until = -math.inf
        self._noticed_at = now + self.notice_s if self.number > 1 else -math.inf
        self.forgot = False
        self._tell_listeners()

    def _tell_listeners(self) -> None:
        for listener in self._listeners:
            listener()
