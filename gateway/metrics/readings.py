"""What is not counted but looked at when somebody scrapes."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

Reading: TypeAlias = Callable[[], Iterable[Metric]]

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Readings(Collector):
    """Runs in the thread of a scrape while the event loop goes on: a reading copies what it walks
    through, in one step. One that fails takes none of the others with it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._readings: list[Reading] = []
        registry.register(self)

    def add(self, reading: Reading) -> None:
        self._readings.append(reading)

    def describe(self) -> Iterable[Metric]:
        """Nothing: to look is not free."""
        return ()

    def collect(self) -> Iterator[Metric]:
        for reading in list(self._readings):
            try:
                found = list(reading())
            except Exception:
                log.exception("a reading for the metrics failed")
            else:
                yield from found
