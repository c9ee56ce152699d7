"""The workers of one gateway, as their parent sees them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final
from wsgiref.types import WSGIApplication

import prometheus_client
from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from gateway.metrics.family import Family
from gateway.metrics.merged import merged
from gateway.metrics.metrics import FAMILIES as OF_ONE
from gateway.metrics.process import RELOADED
from gateway.metrics.readings import Readings

SERVING: Final = Family(
    "cbr_workers_serving", "gauge", "Workers that take calls; only with `server.workers`."
)
REPLACED: Final = Family(
    "cbr_processes_replaced_total",
    "counter",
    "Processes that ended unasked and were replaced: `worker`, `store_owner` or"
    " `fork_server`; only with `server.workers`.",
    ("process",),
)
FAMILIES: Final = (SERVING, REPLACED)
_RULES: Final = {each.name: each.together for each in (*OF_ONE, *FAMILIES)}


class WorkersParts(Struct, frozen=True):
    """What is looked at. `replaced`: how many processes, by what they are."""

    serving: Callable[[], int]
    replaced: Callable[[], Mapping[str, int]]
    reload_refused: Callable[[], bool]


class Merged(Collector):
    """`parts`: the metrics of each worker, in any thread; to them come those of the parent."""

    def __init__(self, own: WorkersParts, parts: Callable[[], Iterable[Sequence[Metric]]]) -> None:
        self._own, self._parts = _own(own), parts

    def describe(self) -> Iterable[Metric]:
        """Nothing: to look is not free."""
        return ()

    def collect(self) -> Iterator[Metric]:
        return merged([list(self._own.collect()), *self._parts()], _RULES)

    def page(self) -> WSGIApplication:
        """`/metrics` of all workers."""
        registry = CollectorRegistry()
        registry.register(self)
        page: WSGIApplication = prometheus_client.make_wsgi_app(registry)
        return page


def _own(parts: WorkersParts) -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)

    def read() -> Iterable[Metric]:
        yield SERVING.one(parts.serving())
        yield REPLACED.total(((name,), count) for name, count in parts.replaced().items())
        yield RELOADED.one(not parts.reload_refused())

    Readings(registry).add(read)
    return registry
