"""A call's slots under limits of concurrency, leased until the change itself has ended, not only
until its caller is answered.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import structlog

from gateway import failpoint
from gateway.clock import Clock
from gateway.state import Leases, StoreDown

LEASE_S: Final = 15.0
BEAT_S: Final = 5.0
_GROUPS: Final = 10
_AT_ONCE: Final = 32
"""Renewals that wait for the store."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SlotRenewals:
    """Renews what calls hold, every `BEAT_S`. One per process: a task for each call would be one
    for each open stream.

    The calls are in groups of which one is renewed after the other, so that thousands of them do
    not hold up others together.
    """

    def __init__(self, leases: Leases, clock: Clock) -> None:
        self.leases = leases
        self._clock = clock
        self._groups: list[set[ConcurrencySlots]] = [set() for _ in range(_GROUPS)]
        self._numbers = itertools.count()

    def group(self) -> "set[ConcurrencySlots]":
        """The one for the next call."""
        return self._groups[next(self._numbers) % _GROUPS]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Works in the background until left."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def held(self) -> int:
        """By how many calls."""
        return sum(map(len, self._groups))

    async def _run(self) -> None:
        for group in itertools.cycle(self._groups):
            await self._clock.sleep(BEAT_S / _GROUPS)
            waiting = iter(list(group))
            ended = await asyncio.gather(
                *(_renew(waiting) for _ in range(min(_AT_ONCE, len(group)))),
                return_exceptions=True,
            )
            for error in filter(None, ended):
                log.error("slots were not renewed", exc_info=error)


async def _renew(waiting: "Iterator[ConcurrencySlots]") -> None:
    for slots in waiting:
        await slots.renew()


class ConcurrencySlots:
    """Held by the call and, while it runs, by the change; free when both have left.

    `lasting`: those that the work behind a change holds as well.
    """

    __slots__ = ("_group", "_holder", "_inside", "_keys", "_leases", "lasting", "taken")

    def __init__(
        self,
        renewals: SlotRenewals,
        holder: str,
        keys: Sequence[str],
        lasting: Sequence[str] = (),
    ) -> None:
        self._leases = renewals.leases
        self._holder = holder
        self._keys = keys
        self.lasting = tuple(lasting)
        self.taken = bool(keys)
        """Whether there is anything to leave."""
        self._inside = 1
        self._group: set[ConcurrencySlots] = set()
        if keys:
            self._group = renewals.group()
            self._group.add(self)

    def enter(self) -> None:
        self._inside += 1

    def hand_over(self) -> None:
        """The lasting ones have another keeper from now on."""
        self._keys = [key for key in self._keys if key not in self.lasting]

    async def leave(self) -> None:
        self._inside -= 1
        if self._inside or not self.taken:
            return
        self._group.discard(self)
        failpoint.reach("before_slots_free")
        try:
            await self._leases.free(self._holder, self._keys)
        except StoreDown:
            # The lease ends by itself.
            return

    async def renew(self) -> None:
        """Nothing once they were left."""
        if self not in self._group:
            return
        try:
            await self._leases.renew(self._holder, self._keys, LEASE_S)
        except StoreDown:
            return
