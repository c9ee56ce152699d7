"""Work that goes on after the answer: streams, and how well the tasks of each project are known."""

import time
from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import Final, TypeAlias

from prometheus_client.core import Metric

from gateway.metrics.family import Family
from gateway.metrics.labels import OTHER, Labels
from gateway.metrics.readings import Readings
from gateway.watch.hub import Hub

STREAMS: Final = Family(
    "cbr_streams_open", "gauge", "Streams and waits that are open.", together="sum"
)
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
TASK_ENDS: Final = Family(
    "cbr_task_ends_total",
    "counter",
    "Tasks that have ended, also those that a policy started, each told by one of the replicas."
    " `status`: `succeeded`, `failed`, `timed_out`, `skipped`, `partly_failed`, `gone` (CBR"
    " does not know it any more) or `other`. Twice only after a crash at that moment.",
    ("project", "type", "status"),
)
LAST_END: Final = Family(
    "cbr_task_last_end_timestamp_seconds",
    "gauge",
    "When this process last told such an end; 0 if it has told none. Of an end while no gateway"
    " ran, when it was found out.",
    ("project", "type", "status"),
)
MISSED: Final = Family(
    "cbr_schedule_runs_missed_total",
    "counter",
    "Runs of backup policies that did not come in their time, each told by one of the replicas.",
    ("project",),
)
LAST_MISSED: Final = Family(
    "cbr_schedule_last_missed_timestamp_seconds",
    "gauge",
    "When this process last told such a run; 0 if it has told none.",
    ("project",),
)
FAMILIES: Final = (
    TASK_ENDS,
    LAST_END,
    MISSED,
    LAST_MISSED,
    STREAMS,
    EVENTS,
    COALESCED,
    CUTS,
    LAG,
    OPEN_TASKS,
)


_TYPES: Final = ("backup", "copy", "replication", "restore")
_STATUSES: Final = ("succeeded", "failed", "timed_out", "skipped", "partly_failed")
"""What has a series from the start, so that the first one ever is an increase."""
_End: TypeAlias = tuple[str, str, str]


class WorkMetrics:
    """Hears of the ends of tasks and of missed runs, and looks at the hub."""

    def __init__(self, readings: Readings, projects: Labels) -> None:
        self._projects = projects
        self._ends: Counter[_End] = Counter()
        self._last_ends: dict[_End, float] = {}
        self._missed: Counter[str] = Counter()
        self._last_missed: dict[str, float] = {}
        readings.add(self._read_ends)
        readings.add(self._read_missed)

    def task_ended(self, project: str, kind: str, status: str) -> None:
        end = project, kind.lower(), status
        self._ends[end] += 1
        self._last_ends[end] = time.time()

    def schedule_missed(self, project: str) -> None:
        self._missed[project] += 1
        self._last_missed[project] = time.time()

    def _read_missed(self) -> Iterable[Metric]:
        every = [*self._projects.names, OTHER]
        missed, last = Counter(dict.fromkeys(every, 0)), dict.fromkeys(every, 0.0)
        for project, count in list(self._missed.items()):
            missed[self._projects.of(project)] += count
        for project, at in list(self._last_missed.items()):
            shown = self._projects.of(project)
            last[shown] = max(at, last.get(shown, 0.0))
        yield MISSED.total(((project,), count) for project, count in missed.items())
        yield LAST_MISSED.gauge(((project,), at) for project, at in last.items())

    def _read_ends(self) -> Iterable[Metric]:
        every = list(product([*self._projects.names, OTHER], _TYPES, _STATUSES))
        ends, last = Counter(dict.fromkeys(every, 0)), dict.fromkeys(every, 0.0)
        for (project, kind, status), count in list(self._ends.items()):
            ends[self._projects.of(project), kind, status] += count
        for (project, kind, status), at in list(self._last_ends.items()):
            shown = self._projects.of(project), kind, status
            last[shown] = max(at, last.get(shown, 0.0))
        yield TASK_ENDS.total(list(ends.items()))
        yield LAST_END.gauge(list(last.items()))

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
