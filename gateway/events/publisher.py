"""Takes events: into the log of their tenant, and into the queue of every sink that wants them."""

from msgspec import Struct

from gateway.events.log import EventLog
from gateway.events.sink_queues import SinkQueues
from gateway.events.types import Event


class Publisher(Struct, frozen=True):
    """One per process."""

    log: EventLog
    sinks: SinkQueues

    @property
    def on(self) -> bool:
        """Whether anybody hears of events."""
        return self.log.on or bool(self.sinks.settings.sinks)

    async def put(self, event: Event) -> None:
        """Returns once the event is kept. Raises StoreDown; then it may be put again."""
        await self.log.put(event)
        await self.sinks.put(event)
