"""Calls that wait for their turn, and those that were refused since there are too many."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Metric

from gateway.metrics.family import Family
from gateway.metrics.labels import OTHER, Labels
from gateway.metrics.readings import Readings
from gateway.rpc.concurrency import Concurrency
from gateway.rpc.core_calls import CoreCalls

RUNNING: Final = Family(
    "cbr_calls_carried_out",
    "gauge",
    "Calls that have a place: begun, and no streams or waits.",
    together="sum",
)
LIMIT: Final = Family(
    "cbr_calls_carried_out_limit",
    "gauge",
    "How many calls may have one now: less than `server.overload.max_calls` while the event loop is"
    " late.",
    together="sum",
)
WAITING: Final = Family(
    "cbr_calls_waiting", "gauge", "Calls that wait for a place.", together="sum"
)
WAITED: Final = Family("cbr_calls_waited_total", "counter", "Calls that have had to wait for one.")
WAITED_S: Final = Family(
    "cbr_calls_waited_seconds_total", "counter", "How long they waited, all together."
)
REFUSED: Final = Family(
    "cbr_overload_refusals_total",
    "counter",
    "Calls that were refused as `OVERLOADED`, by tenant.",
    ("tenant",),
)
CORE: Final = Family(
    "cbr_grpc_core_calls_total",
    "counter",
    "Calls as gRPC's core counts them: `started`, `succeeded`, `failed`. More were started than"
    " `grpc_server_started_total` says where callers have gone, or gRPC has refused, before the"
    " gateway heard of them.",
    ("state",),
)
FAMILIES: Final = (CORE, RUNNING, LIMIT, WAITING, WAITED, WAITED_S, REFUSED)


class OverloadMetrics:
    """Looks at the calls that are carried out."""

    def __init__(self, tenants: Labels) -> None:
        self._tenants = tenants

    def look_at(self, calls: Concurrency, core: CoreCalls, readings: Readings) -> None:
        readings.add(lambda: self._read(calls))
        readings.add(lambda: [CORE.total([((state,), n) for state, n in core.counts().items()])])

    def _read(self, calls: Concurrency) -> Iterable[Metric]:
        yield RUNNING.one(calls.running)
        yield LIMIT.one(calls.limit)
        yield WAITING.one(calls.waiting)
        yield WAITED.total([((), calls.waited)])
        yield WAITED_S.total([((), calls.waited_s)])
        refused = Counter(dict.fromkeys([*self._tenants.names, OTHER], 0))
        for tenant, count in list(calls.refused.items()):
            refused[self._tenants.of(tenant)] += count
        yield REFUSED.total([((tenant,), count) for tenant, count in refused.items()])
