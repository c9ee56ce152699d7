"""Work that goes on after the answer: streams, and how well the tasks of each project are known."""

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import Metric

from gateway.metrics.family import Family
from gateway.metrics.labels import Labels
from gateway.metrics.readings import Readings
from gateway.watch.hub import Hub

STREAMS: Final = Family("cbr_streams_open", "gauge", "Streams and waits that are open.")
EVENTS: Final = Family("cbr_stream_events_total", "counter", "Events that were sent on streams.")
COALESCED: Final = Family(
    "cbr_stream_events_coalesced_total",
    "counter",
    "States of tasks that were replaced by newer ones before a slow reader took them.",
)
CUTS: Final = Family(
    "cbr_stream_cuts_total",
    "counter",
    "Streams that the gateway ended, by the reason that the last event tells; `CALLER_TOO_SLOW`:"
    " since nobody read.",
    ("reason",),
)
LAG: Final = Family(
    "cbr_watch_source_lag_seconds",
    "gauge",
    "How long ago the tasks of a project that is polled were last read.",
    ("project",),
)
OPEN_TASKS: Final = Family(
    "cbr_open_tasks", "gauge", "Tasks of a polled project that have not ended.", ("project",)
)
FAMILIES: Final = (STREAMS, EVENTS, COALESCED, CUTS, LAG, OPEN_TASKS)


class WorkMetrics:
    """Looks at the hub."""

    def __init__(self, projects: Labels) -> None:
        self._projects = projects

    def look_at(self, hub: Hub, readings: Readings) -> None:
        readings.add(lambda: self._read(hub))

    def _read(self, hub: Hub) -> Iterable[Metric]:
        counts = hub.counts
        yield STREAMS.one(len(hub.queues))
        yield EVENTS.total([((), counts.sent)])
        yield COALESCED.total([((), counts.coalesced)])
        yield CUTS.total(((reason,), count) for reason, count in list(counts.cuts.items()))
        lags: dict[str, float] = {}
        tasks: dict[str, int] = {}
        now = hub.clock.monotonic()
        for poller in hub.tracker.pollers():
            label = self._projects.of(poller.project)
            lags[label] = max(now - poller.read_at, lags.get(label, 0.0))
            tasks[label] = tasks.get(label, 0) + len(poller.table.open)
        yield LAG.gauge(((project,), lag_s) for project, lag_s in lags.items())
        yield OPEN_TASKS.gauge(((project,), count) for project, count in tasks.items())
