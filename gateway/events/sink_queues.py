"""Takes events: each into the queue of every sink that wants it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from msgspec import Struct

from gateway.clock import Clock
from gateway.events.letters import DeadLetter, Letter, dead_queue_of, queue_of, read
from gateway.events.settings import EventSettings, SinkSettings
from gateway.events.types import Event, encoded, type_of
from gateway.state import Queued, Queues

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class SinkCounts(Struct):
    """Of one sink, since this process began; `waiting` and `dead` as last seen in the store."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    given_up_at: float = 0.0
    waiting: int = 0
    dead: int = 0


@dataclass(slots=True)
class SinkQueues:
    """One per process. `stirred`: by sink, that something was put into its queue."""

    settings: EventSettings
    queues: Queues
    clock: Clock
    stirred: Mapping[str, asyncio.Event] = field(init=False)
    counts: Mapping[str, SinkCounts] = field(init=False)

    def __post_init__(self) -> None:
        names = [sink.name for sink in self.settings.sinks]
        self.stirred = {name: asyncio.Event() for name in names}
        self.counts = {name: SinkCounts() for name in names}

    async def put(self, event: Event) -> None:
        """Returns once the event is kept. Raises StoreDown; then it may be put again."""
        kind, data = type_of(event), event.data
        wanting = [
            each for each in self.settings.sinks if each.wants(kind, data.tenant, data.outcome)
        ]
        if not wanting:
            return
        letter = Letter(kind, event.subject, self.clock.time(), encoded(event)).packed()
        for sink in wanting:
            most = self.settings.max_queued
            for pushed_out in await self.queues.put(queue_of(sink.name), event.id, letter, most):
                await self.give_up(sink, pushed_out, "there were too many events in the queue")
            self.stirred[sink.name].set()

    async def give_up(self, sink: SinkSettings, queued: Queued, why: str) -> None:
        """Makes a dead letter. Raises StoreDown."""
        letter = read(queued.value, Letter)
        if letter is None:
            why, letter = "it was written by another version", Letter("", "", 0, queued.value)
        dead = DeadLetter(letter, self.clock.time(), why).packed()
        await self.queues.put(dead_queue_of(sink.name), queued.key, dead, self.settings.max_dead)
        await self.queues.remove(queue_of(sink.name), [queued.key])
        counts = self.counts[sink.name]
        counts.given_up += 1
        counts.given_up_at = self.clock.time()
        log.error("an event was given up", sink=sink.name, event_id=queued.key, why=why)
