"""How many calls are carried out at once, and who is next when there are more.

A call for which there is no room waits in its tenant's line (fair_queue.py); what waits too long,
or finds too many before it, is refused as OVERLOADED. While there is room, all this is a counter.

Each tenant may always have its equal part of the limit: calls that hang, or are slow, hold places
of their own tenant only.
"""

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from cbrgateway.v1 import errors_pb2

from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.rpc.adaptive_limit import LOOK_S, AdaptiveLimit, LoopShare
from gateway.rpc.call import Call
from gateway.rpc.fair_queue import FairQueue, Waiting
from gateway.rpc.settings import OverloadSettings

BURST_S: Final = 1.0
"""A queue that is there for less long is a burst, not overload."""
_IN_A_BURST: Final = 0.6
_ELSE: Final = 0.2
"""The part of the time that its caller gives it for which a call waits."""
_FRESH_S: Final = 0.1
"""Once the oldest call of a line has waited for longer, the newest is served first."""
_SHORTEST_CALL_S: Final = 0.4
"""What a call needs at least, as DEADLINE_TOO_SHORT says: with less it need not begin."""
_RETRY_S: Final = (0.5, 1.5)
"""From, to: those who were refused together come again one by one."""


class Concurrency:
    """One per process. A call takes a place, or waits for one, and leaves it at its end."""

    def __init__(
        self, settings: OverloadSettings, clock: Clock, busy: Callable[[], float] | None = None
    ) -> None:
        """`busy`: the share of the time since it was last asked in which the event loop worked."""
        self._settings, self._clock = settings, clock
        self._busy = busy or LoopShare()
        self._limit = AdaptiveLimit(settings.min_calls, settings.max_calls)
        self._held: dict[str, int] = {}
        self._queue = FairQueue()
        self._queue_since = 0.0
        self._ends: list[tuple[float, int, Waiting]] = []
        self._numbers = itertools.count()
        self._looking: asyncio.Task[None] | None = None
        self.running = 0
        self.waited = 0
        """Calls that have had to wait."""
        self.waited_s = 0.0
        """How long, all together; also of those that were refused."""
        self.refused: Counter[str] = Counter()
        """By tenant."""

    @property
    def limit(self) -> int:
        return self._limit.value

    @property
    def waiting(self) -> int:
        return self._queue.length

    def has_room(self) -> bool:
        """Whether there is a place for a call, whoever makes it."""
        return self.running < self._limit.value and not self._queue.length

    def take(self, call: Call) -> bool:
        """Whether the call has a place at once."""
        assert call.principal is not None
        tenant = call.principal.tenant.id
        if self.running >= self._settings.min_calls or self._queue.length:
            if tenant in self._queue or not self._may(tenant):
                return False
            self._look()
        self.running += 1
        self._held[tenant] = self._held.get(tenant, 0) + 1
        call.place = tenant
        return True

    async def wait(self, call: Call, cost: int) -> None:
        """For a place. Raises OVERLOADED."""
        waiting = self._waiting(call, cost)
        self._queue.put(waiting)
        heapq.heappush(self._ends, (waiting.until, next(self._numbers), waiting))
        self.waited += 1
        if self._queue.length > self._settings.max_waiting:
            self._refuse(self._queue.crowded())
        self._look()
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.cancelled():
                self._queue.discard(waiting)
            elif waiting.turn.exception() is None:
                call.place = waiting.tenant
            raise
        finally:
            self.waited_s += self._clock.monotonic() - waiting.since
        call.place = waiting.tenant

    def leave(self, call: Call) -> None:
        """Gives the call's place back, if it has one."""
        if not call.place:
            return
        self.running -= 1
        self._held[call.place] -= 1
        if not self._held[call.place]:
            del self._held[call.place]
        call.place = ""
        if self._queue.length:
            self._serve()

    def close(self) -> None:
        """Watches no more."""
        if self._looking is not None:
            self._looking.cancel()

    def _waiting(self, call: Call, cost: int) -> Waiting:
        now = self._clock.monotonic()
        if not self._queue.length:
            self._queue_since = now
        within_s = self._settings.max_wait_s
        if call.time_left_s is not None:
            part = _IN_A_BURST if now - self._queue_since < BURST_S else _ELSE
            spare_s = max(0.0, call.time_left_s - _SHORTEST_CALL_S)
            within_s = min(within_s, part * call.time_left_s, spare_s)
        assert call.principal is not None
        tenant, turn = call.principal.tenant, asyncio.get_running_loop().create_future()
        return Waiting(tenant.id, tenant.weight, cost, now, now + within_s, turn)

    def _may(self, tenant: str) -> bool:
        limit = self._limit.value
        if self.running < limit:
            return True
        tenants = len(self._held) + (tenant not in self._held)
        return self._held.get(tenant, 0) < -(-limit // tenants)

    def _serve(self) -> None:
        fresh_since = self._clock.monotonic() - _FRESH_S
        while (waiting := self._queue.next(self._may, fresh_since)) is not None:
            if waiting.turn.done():
                # Its caller has just left, and it has not heard of that yet.
                continue
            self.running += 1
            self._held[waiting.tenant] = self._held.get(waiting.tenant, 0) + 1
            waiting.turn.set_result(None)

    def _refuse(self, waiting: Waiting) -> None:
        self._queue.discard(waiting)
        if waiting.turn.done():
            return
        self.refused[waiting.tenant] += 1
        text = "The gateway has more calls than it can carry out. Repeat later, or call less often."
        error = GatewayError(
            errors_pb2.ERROR_REASON_OVERLOADED,
            text,
            retry_after_s=random.uniform(*_RETRY_S),  # noqa: S311 - spreads load
        )
        waiting.turn.set_exception(error)

    def _look(self) -> None:
        """Begins to watch, unless somebody does."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        """How late the event loop is, and who has waited too long, until all is well again."""
        try:
            next_look = self._clock.monotonic() + LOOK_S
            self._busy()
            while self._is_needed():
                due = min(next_look, self._ends[0][0]) if self._ends else next_look
                await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
                now = self._clock.monotonic()
                if now >= next_look:
                    self._limit.look(now - next_look, self._busy(), self.running)
                    next_look = now + LOOK_S
                self._end(now)
                self._serve()
        finally:
            self._looking = None

    def _is_needed(self) -> bool:
        settings = self._settings
        few = self.running <= settings.min_calls and self.limit >= settings.max_calls
        return bool(self._queue.length) or not few

    def _end(self, now: float) -> None:
        """Refuses those whose time is up."""
        while self._ends and (self._ends[0][0] <= now or self._ends[0][2].turn.done()):
            self._refuse(heapq.heappop(self._ends)[2])
