"""Lives of the store's data: what a gateway does when it meets another one.

A store that was restarted may have lost counts and changes that are on their way. It is told anew
what this process has sent, and nothing is counted or grows until every gateway has done so.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from gateway.clock import Clock
from gateway.limits import refusals
from gateway.state import Life, StoreDown

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class StoreLife:
    """One per process."""

    data: Life
    clock: Clock
    settle_s: float
    """How late a list of CBR may be."""
    restore: Callable[[], Awaitable[None]]
    """Tells a store that lost its data what this process has sent. Raises StoreDown."""
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
    _epoch: str = ""
    """Of this life."""
    _restored: int = 0
    """The last life that knows what this process has sent."""
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
        if self._restored == self.number:
            return
        async with self._noticing:
            if self._restored == self.number:
                return
            life, lost = self.number, self.number > 1
            # What was sent before the data began may be recorded nowhere, and CBR may take so long
            # to show it.
            wait_s = max(self.settle_s - await self.data.age_s(), self.notice_s if lost else 0)
            if wait_s > 0:
                log.error(
                    "the store lost data, or is new; growth under limits waits",
                    seconds=round(wait_s, 1),
                )
            if life == self.number:
                self.count_from = self.clock.monotonic() + wait_s
            if lost:
                await self.restore()
            self._restored = life

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
        self.count_from = self.clock.monotonic() + max(self.settle_s, self.notice_s)
        for listener in self._listeners:
            listener()
