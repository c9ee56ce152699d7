"""Fakes for what a test must hold in its hands; everything else in the tests is real."""

import asyncio
import heapq
from itertools import count


class SteppedClock:
    """Time that stands still until `advance`; sleepers wake in the order of their times."""

    def __init__(self, start: float = 1_738_310_950.0) -> None:  # 2025-01-31T08:09:10Z
        self.start = start
        self.now = 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self.start + self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Moves the time on; who slept until then runs at the next turn of the loop."""
        self.now += seconds
        while self._sleepers and self._sleepers[0][0] <= self.now:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
