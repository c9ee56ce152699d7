"""When to look at each of many: at once when something is new, else after growing pauses."""

import asyncio
import contextlib
import heapq
import math
from typing import Final

from msgspec import Struct

from gateway.clock import Clock

PAUSES_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses between looks; the last one is repeated, by all at the same moments."""


class _Plan(Struct):
    """`pauses`: how many there were."""

    pauses: int = 0
    next_at: float = 0.0


class Schedule:
    """By names. Times are those of the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._plans: dict[str, _Plan] = {}
        self._times: list[tuple[float, str]] = []
        self._woken: dict[str, None] = {}
        self._moved = asyncio.Event()

    def add(self, name: str) -> None:
        self._plans[name] = _Plan()
        self.wake(name)

    def drop(self, name: str) -> None:
        self._plans.pop(name, None)

    def wake(self, name: str) -> None:
        self._woken[name] = None
        self._moved.set()

    async def rest(self) -> None:
        """Until a look may be due."""
        self._moved.clear()
        left_s = max(0.0, self._times[0][0] - self._clock.monotonic()) if self._times else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._moved.wait()

    def due(self) -> list[str]:
        """What is to be looked at now; each is told once."""
        now = self._clock.monotonic()
        names, self._woken = self._woken, {}
        while self._times and self._times[0][0] <= now:
            names[heapq.heappop(self._times)[1]] = None
        return [name for name in names if name in self._plans]

    def put_off(self, name: str) -> bool:
        """Plans the next look; False: it is planned already, or nothing of this name is left."""
        now, plan = self._clock.monotonic(), self._plans.get(name)
        if plan is None or plan.next_at > now:
            return False
        pause_s = PAUSES_S[min(plan.pauses, len(PAUSES_S) - 1)]
        plan.pauses += 1
        plan.next_at = now + pause_s
        if plan.pauses >= len(PAUSES_S):
            # Together with the others, so that one list serves all.
            plan.next_at = math.ceil(plan.next_at / pause_s) * pause_s
        heapq.heappush(self._times, (plan.next_at, name))
        return True
