"""What must not be lost: the store, the changes in it, and the audit log."""

import inspect
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace
from prometheus_client.core import Metric

from gateway.audit.log import Audit
from gateway.metrics.durations import BRIEF_SECONDS, Durations
from gateway.metrics.family import Family
from gateway.metrics.readings import Readings
from gateway.state import OPEN, State, Store, StoreDown

STORE_UP: Final = Family(
    "cbr_store_up",
    "gauge",
    "1 if the store could be read at the last sample, else 0.",
    together="min",
)
STORE_SECONDS: Final = Family(
    "cbr_store_request_seconds",
    "histogram",
    "How long the store took, by what it was asked: `operations.begin`, `rates.take`.",
    ("request",),
)
STORE_FAILURES: Final = Family(
    "cbr_store_failures_total", "counter", "Requests that the store did not answer.", ("request",)
)
LEDGER: Final = Family(
    "cbr_ledger_operations",
    "gauge",
    "Changes that have not ended, of all replicas together, by where they stand; at most 2000 are"
    " counted. `UNKNOWN`: nobody knows what became of it.",
    ("state",),
)
OLDEST: Final = Family(
    "cbr_ledger_oldest_operation_age_seconds",
    "gauge",
    "Age of the oldest change that has not ended, 0 without one.",
)
AUDIT_UP: Final = Family(
    "cbr_audit_up",
    "gauge",
    "1 while audit records can be written, also without an audit log.",
    together="min",
)
AUDIT_LAST: Final = Family(
    "cbr_audit_last_record_timestamp_seconds",
    "gauge",
    "When records were last made durable; none before the first.",
)
AUDIT_WAITING: Final = Family(
    "cbr_audit_waiting_records", "gauge", "Records that are not on the disk yet.", together="sum"
)
AUDIT_LOST: Final = Family(
    "cbr_audit_lost_records",
    "gauge",
    "Records that had no room while the disk failed; the log tells how many once it goes on.",
    together="sum",
)
COLLECTOR_LAG: Final = Family(
    "cbr_audit_collector_lag_records",
    "gauge",
    "Durable records that the collector does not have; only with `audit.otlp`.",
    together="sum",
)
FAMILIES: Final = (
    *(STORE_UP, STORE_SECONDS, STORE_FAILURES, LEDGER, OLDEST),
    *(AUDIT_UP, AUDIT_LAST, AUDIT_WAITING, AUDIT_LOST, COLLECTOR_LAG),
)

_MOST_OPEN: Final = 2000
_WAITS: Final = frozenset({"channel.heard"})
"""What answers when there is something to say."""


class _Sampled(Struct):
    """What the store said last."""

    up: bool = True
    open: Mapping[State, int] = field(default_factory=dict)
    oldest: float | None = None


class _Meter(Struct):
    """Of one kind of request."""

    durations: Durations = field(default_factory=lambda: Durations(BRIEF_SECONDS))
    failures: int = 0


class RecordMetrics:
    """Measures the store from outside, and looks at the audit log."""

    def __init__(self, readings: Readings) -> None:
        self._meters: dict[str, _Meter] = {}
        self._sampled = _Sampled()
        readings.add(self._store)

    def measured(self, store: Store) -> Store:
        """The same store, with every request measured."""
        roles = {name: getattr(store, name) for name in Store.__struct_fields__}
        return replace(store, **{name: _Measured(name, role, self) for name, role in roles.items()})

    async def sample(self, store: Store) -> None:
        """Asks the store how it is."""
        try:
            opened = await store.operations.opened("", _MOST_OPEN)
        except StoreDown:
            self._sampled.up = False
            return
        count = dict.fromkeys(OPEN, 0)
        for each in opened:
            count[each.state] = count.get(each.state, 0) + 1
        oldest = opened[0].created_at if opened else None
        self._sampled = _Sampled(up=True, open=count, oldest=oldest)

    def look_at(self, audit: Audit, readings: Readings) -> None:
        readings.add(lambda: _audit(audit))

    def _store(self) -> Iterable[Metric]:
        found = self._sampled
        yield STORE_UP.one(found.up)
        yield LEDGER.gauge(((state.value,), count) for state, count in found.open.items())
        yield OLDEST.one(0.0 if found.oldest is None else max(0.0, time.time() - found.oldest))
        meters = list(self._meters.items())
        yield STORE_SECONDS.histogram(((request,), each.durations) for request, each in meters)
        yield STORE_FAILURES.total(((request,), each.failures) for request, each in meters)

    def meter(self, request: str) -> _Meter:
        return self._meters.setdefault(request, _Meter())


class _Measured:
    """One role of the store. Its methods are wrapped when they are first looked up."""

    def __init__(self, name: str, role: object, metrics: RecordMetrics) -> None:
        self._name, self._role, self._metrics = name, role, metrics

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the role has
        found, request = getattr(self._role, name), f"{self._name}.{name}"
        if request in _WAITS or not inspect.iscoroutinefunction(found):
            return found
        measured = _timed(self._role, name, self._metrics.meter(request))
        setattr(self, name, measured)
        return measured


def _timed(role: object, name: str, meter: _Meter) -> Callable[..., Awaitable[Any]]:
    async def timed(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - as the role has it
        began = time.perf_counter()
        try:
            return await getattr(role, name)(*given, **named)
        except StoreDown:
            meter.failures += 1
            raise
        finally:
            meter.durations.add(time.perf_counter() - began)

    return timed


def _audit(audit: Audit) -> Iterable[Metric]:
    found = audit.progress()
    yield AUDIT_UP.one(not found.trouble)
    yield AUDIT_LAST.gauge([((), found.written_at)] if found.written_at else [])
    yield AUDIT_WAITING.one(found.waiting)
    yield AUDIT_LOST.one(found.lost)
    yield COLLECTOR_LAG.gauge([((), found.unsent)] if found.unsent is not None else [])
