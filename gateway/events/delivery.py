"""Delivers the queue of one sink: at least once, and in order for each subject.

One replica at a time does, by a lease. An event that the sink does not take holds up those of its
subject, and no others; a sink that takes none is left alone for a while. What is known of failures
is in memory: the next process begins anew.
"""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct, field

from gateway import failpoint
from gateway.clock import Clock
from gateway.events.letters import Letter, dead_queue_of, queue_of, read
from gateway.events.settings import SinkSettings
from gateway.events.sink_queues import SinkQueues
from gateway.state import Leased, Leases, Queued, Slot, StoreDown

if TYPE_CHECKING:
    from gateway.events.webhook import Webhook

_PAGE: Final = 100
_LOOK_S: Final = 1.0
"""Time between two looks at what other replicas have put."""
_LONGEST_S: Final = 300.0
_LONGEST_REST_S: Final = 60.0
_IN_A_ROW: Final = 3
"""So many failures without a success mean that the sink is down."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Held(Struct):
    """A subject of which an event failed: how often, and until when it waits."""

    failures: int = 0
    until: float = 0.0


class Delivery(Struct):
    """One per sink and process. `owner` names the process."""

    sink: SinkSettings
    pending: SinkQueues
    webhook: "Webhook"
    leases: Leases
    owner: str
    clock: Clock
    _held: dict[str, _Held] = field(default_factory=dict)
    _in_a_row: int = 0
    _rest_until: float = 0.0
    _renew_at: float = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        stirred = self.pending.stirred[self.sink.name]
        try:
            while True:
                stirred.clear()
                try:
                    await self._turn()
                except StoreDown:
                    await self.clock.sleep(_LOOK_S)
                except Exception:
                    log.exception("the delivery of events failed; it goes on", sink=self.sink.name)
                    await self.clock.sleep(_LOOK_S)
                # `wait_for` of Python 3.11 may lose a cancellation that comes with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._next_look_s()):
                        await stirred.wait()
        finally:
            await self.webhook.aclose()

    def _next_look_s(self) -> float:
        """Until something may be due, and not long."""
        now = self.clock.monotonic()
        due = (self._rest_until, *(held.until for held in self._held.values()))
        return min(_LOOK_S, *(each - now for each in due if each > now), _LOOK_S)

    async def _turn(self) -> None:
        """Delivers what is due, if it is this replica's turn."""
        counts, queues = self.pending.counts[self.sink.name], self.pending.queues
        counts.waiting = await queues.length(queue_of(self.sink.name))
        counts.dead = await queues.length(dead_queue_of(self.sink.name))
        if not counts.waiting or self.clock.monotonic() < self._rest_until:
            return
        slot = Slot(queue_of(self.sink.name), 1)
        if not isinstance(await self.leases.lease(self.owner, [slot], self._ttl_s), Leased):
            return
        self._renew_at = self.clock.monotonic() + self._ttl_s / 3
        try:
            await self._pass()
        finally:
            await self.leases.free(self.owner, [slot.key])

    @property
    def _ttl_s(self) -> float:
        return 3 * self.sink.timeout_s + 5

    async def _pass(self) -> None:
        """Goes through the queue once. An event waits while an earlier one of its subject does."""
        waiting: set[str] = set()
        after = 0
        while page := await self.pending.queues.read(queue_of(self.sink.name), after, _PAGE):
            for queued in page:
                letter = read(queued.value, Letter)
                if letter is None:
                    await self.pending.give_up(self.sink, queued, "")
                elif letter.subject in waiting or self._waits(letter.subject):
                    waiting.add(letter.subject)
                elif not await self._mine():
                    return
                elif not await self._deliver(queued, letter):
                    waiting.add(letter.subject)
                    if self._in_a_row >= _IN_A_ROW:
                        self._rest()
                        return
            after = page[-1].position

    def _waits(self, subject: str) -> bool:
        held = self._held.get(subject)
        return held is not None and self.clock.monotonic() < held.until

    async def _mine(self) -> bool:
        """Whether it is still this replica's turn."""
        now = self.clock.monotonic()
        if now < self._renew_at:
            return True
        self._renew_at = now + self._ttl_s / 3
        return await self.leases.renew(self.owner, [queue_of(self.sink.name)], self._ttl_s)

    async def _deliver(self, queued: Queued, letter: Letter) -> bool:
        """Whether the event is done with: delivered, or given up."""
        failpoint.reach("before_event")
        why = await self.webhook.post(queued.key, letter.body)
        counts = self.pending.counts[self.sink.name]
        if not why:
            failpoint.reach("after_event")
            await self.pending.queues.remove(queue_of(self.sink.name), [queued.key])
            counts.delivered += 1
            self._in_a_row = 0
            self._held.pop(letter.subject, None)
            return True
        counts.failed += 1
        self._in_a_row += 1
        if self.clock.time() - letter.put_at >= self.pending.settings.give_up_s:
            await self.pending.give_up(self.sink, queued, why)
            self._held.pop(letter.subject, None)
            return True
        held = self._held.setdefault(letter.subject, _Held())
        held.until = self.clock.monotonic() + self._pause(held.failures, _LONGEST_S)
        held.failures += 1
        level = log.warning if held.failures == 1 else log.info
        level(
            "an event was not delivered; it is tried again",
            sink=self.sink.name,
            event_id=queued.key,
            why=why,
            failures=held.failures,
        )
        return False

    def _rest(self) -> None:
        """The sink takes nothing."""
        rests = self._in_a_row - _IN_A_ROW
        self._rest_until = self.clock.monotonic() + self._pause(rests, _LONGEST_REST_S)

    def _pause(self, failures: int, longest_s: float) -> float:
        """With jitter, so that replicas and sinks do not keep step."""
        whole = min(longest_s, self.pending.settings.retry_s * 2.0 ** min(failures, 20))
        return whole * random.uniform(0.75, 1.0)  # noqa: S311 - spreads load
