"""Events on their way to webhooks."""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import Metric

from gateway.events.sink_queues import SinkCounts
from gateway.metrics.family import Family
from gateway.metrics.readings import Readings

DELIVERIES: Final = Family(
    "cbr_event_deliveries_total",
    "counter",
    "Attempts to post an event to a sink of `events.sinks`, by this process. `outcome`:"
    " `delivered` or `failed`; one that failed is made again.",
    ("sink", "outcome"),
)
WAITING: Final = Family(
    "cbr_events_waiting",
    "gauge",
    "Events in the queue of a sink, which all replicas share, as last looked at.",
    ("sink",),
)
GIVEN_UP: Final = Family(
    "cbr_events_given_up_total",
    "counter",
    "Events that became dead letters by this process: too old, or too many in the queue.",
    ("sink",),
)
LAST_GIVEN_UP: Final = Family(
    "cbr_events_last_given_up_timestamp_seconds",
    "gauge",
    "When this process last made a dead letter of an event; 0 if it has made none.",
    ("sink",),
)
DEAD: Final = Family(
    "cbr_dead_events",
    "gauge",
    "Dead letters of a sink that are kept, as last looked at; `cbr-gateway events dead` lists"
    " them.",
    ("sink",),
)
FAMILIES: Final = (DELIVERIES, WAITING, GIVEN_UP, LAST_GIVEN_UP, DEAD)


class SinkMetrics:
    """Looks at what is counted of each sink."""

    def look_at(self, sinks: Mapping[str, SinkCounts], readings: Readings) -> None:
        readings.add(lambda: _read(sinks))


def _read(sinks: Mapping[str, SinkCounts]) -> Iterable[Metric]:
    yield DELIVERIES.total(
        ((sink, outcome), count)
        for sink, each in sinks.items()
        for outcome, count in (("delivered", each.delivered), ("failed", each.failed))
    )
    yield WAITING.gauge(((sink,), each.waiting) for sink, each in sinks.items())
    yield GIVEN_UP.total(((sink,), each.given_up) for sink, each in sinks.items())
    yield LAST_GIVEN_UP.gauge(((sink,), each.given_up_at) for sink, each in sinks.items())
    yield DEAD.gauge(((sink,), each.dead) for sink, each in sinks.items())
