"""Which of the processes that share the store are there.

Each says so every few seconds; one that has been silent for `LEASE_S` is gone.

What a process began that is gone is looked after by the others. So a process whose own lease is
over must not begin anything any more: it may only be slow, and others act for it by now. `holds` is
asked right before a change goes to CBR, with the term in which the change was recorded: to be heard
again does not bring back what others have taken over.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
from msgspec import Struct, field

from gateway.clock import Clock
from gateway.state.errors import StoreDown
from gateway.state.leases import Leases

LEASE_S: Final = 15.0
BEAT_S: Final = 3.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Heartbeat(Struct):
    """One per process.

    `alone`: the store belongs to this process, so that every other one that used it is gone.
    """

    leases: Leases
    clock: Clock
    owner: str
    alone: bool
    leaves: bool = False
    """Nothing is on its way that this process has sent: once it ends, it need not be missed."""
    _there: frozenset[str] = frozenset()
    term: int = 0
    """Another one after each time in which this process may have been taken for gone."""
    _held_until: float = -math.inf
    _steady_since: float = math.inf
    """Since then this process and every other one that is there were heard without a break."""
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Is told when a process may have gone."""
        self._listeners.append(listener)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Beats until left.

        The lease then ends by itself: what this process began may still be on its way.
        """
        if self.alone:
            yield
            return
        await self.beat()
        beating = asyncio.create_task(self._beating())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
            if self.leaves:
                with contextlib.suppress(StoreDown):
                    await self.leases.left(self.owner)

    def holds(self, term: int) -> bool:
        """Whether nobody has acted for this process since that term began."""
        return self.alone or (term == self.term and self.clock.monotonic() < self._held_until)

    def gone(self, owner: str, *, beats: bool = True) -> bool:
        """Whether another process will never do anything again.

        In doubt it is there. `beats`: whether it says so at all; version 0.1.0 does not.
        """
        if owner == self.owner:
            return False
        return self.alone or (beats and owner not in self._there and self._steady())

    def _steady(self) -> bool:
        """Whether whoever is there has been heard by now: not so after a start, and after an outage
        or a loss of the store.
        """
        return self.holds(self.term) and self.clock.monotonic() - self._steady_since >= LEASE_S

    async def beat(self) -> None:
        began, before = self.clock.monotonic(), (self._there, self._steady())
        try:
            unbroken, self._there = await self.leases.beat(self.owner, LEASE_S)
        except StoreDown as down:
            self._steady_since = math.inf
            log.debug("the store does not hear this process", error=str(down))
            return
        self._held_until = began + LEASE_S
        if not unbroken:
            self.term += 1
        if not unbroken or self._steady_since == math.inf:
            self._steady_since = self.clock.monotonic()
        if before != (self._there, self._steady()):
            for listener in self._listeners:
                listener()

    async def _beating(self) -> None:
        while True:
            await self.clock.sleep(BEAT_S)
            try:
                await self.beat()
            except Exception:
                log.exception("a heartbeat failed; the next one follows")
