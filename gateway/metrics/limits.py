"""Limits: how much of each is used, and what they refused."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final

from msgspec import Struct
from prometheus_client.core import Metric as Exposed

from gateway.clock import Clock
from gateway.errors import QuotaViolation, Violation
from gateway.limits.counted import counted, flowing
from gateway.limits.limits import Applied, Kind, Level, Limits, Scope, day_of
from gateway.metrics.family import Family
from gateway.metrics.readings import Readings
from gateway.state import Store, StoreDown
from gateway.upstream.amounts import Metric

_SUBJECT: Final = ("metric", "level", "subject")
VALUE: Final = Family(
    "cbr_limit_value",
    "gauge",
    "A limit, and whose it is, at most `metrics.max_limits` of them: on what exists, a day's"
    " volume, or what runs at once; of a rate (`requests`, `requests:change`) its burst.",
    _SUBJECT,
)
USED: Final = Family(
    "cbr_limit_used",
    "gauge",
    "How much of it is used at the last sample, with what changes under way have reserved; of a"
    " rate, how much of its burst is gone.",
    _SUBJECT,
)
LEFT_OUT: Final = Family(
    "cbr_limits_left_out", "gauge", "How many counters of limits `metrics.max_limits` leaves out."
)
REFUSED: Final = Family(
    "cbr_limit_refusals_total",
    "counter",
    "Calls that a limit refused, by what it is on and at which level.",
    ("metric", "level"),
)
SHADOW: Final = Family(
    "cbr_limit_shadow_refusals_total",
    "counter",
    "Calls that a shadow limit would have refused.",
    ("metric", "level"),
)
FAMILIES: Final = (VALUE, USED, LEFT_OUT, REFUSED, SHADOW)


class _Sampled(Struct, frozen=True):
    used: Sequence[tuple[Applied, float]] = ()
    left_out: int = 0


class LimitMetrics:
    """Hears of refusals, and asks the store for the use of limits now and then."""

    def __init__(self, readings: Readings, most: int) -> None:
        every = [(str(metric), str(level)) for metric in Metric for level in Level]
        self._refused = Counter(dict.fromkeys(every, 0))
        self._shadow = Counter(dict.fromkeys(every, 0))
        self._most = most
        self._sampled = _Sampled()
        readings.add(self._read)

    def refused(self, violations: Iterable[Violation]) -> None:
        for each in violations:
            if isinstance(each, QuotaViolation):
                self._refused[each.metric, each.dimensions.get("level", "")] += 1

    def would_refuse(self, keys: Iterable[str]) -> None:
        """`keys`: of shadow limits, `vaults:tenant:payments~shadow`."""
        for key in keys:
            metric, level, *_ = f"{key.removesuffix('~shadow')}::".split(":")
            self._shadow[metric, level] += 1

    async def sample(
        self, limits: Limits, scopes: Sequence[Scope], store: Store, clock: Clock
    ) -> None:
        """Asks the store."""
        keys = counted(limits, scopes, day_of(clock.time())[0]) | flowing(limits, scopes)
        shown = {key: keys[key] for key in islice(keys, self._most)}
        try:
            used = await _used(store, shown)
        except StoreDown:
            return
        found = [(shown[key], used[key]) for key in shown]
        self._sampled = _Sampled(found, len(keys) - len(shown))

    def _read(self) -> Iterable[Exposed]:
        found = self._sampled
        yield VALUE.gauge((_labels(each), _value(each)) for each, _ in found.used)
        yield USED.gauge((_labels(each), used) for each, used in found.used)
        yield LEFT_OUT.one(found.left_out)
        yield REFUSED.total(list(self._refused.items()))
        yield SHADOW.total(list(self._shadow.items()))


async def _used(store: Store, shown: Mapping[str, Applied]) -> dict[str, float]:
    """Raises StoreDown."""
    of_kind: dict[Kind, list[str]] = {kind: [] for kind in Kind}
    for key, applied in shown.items():
        of_kind[applied.limit.kind].append(key)
    used: dict[str, float] = {}
    if counters := of_kind[Kind.STOCK] + of_kind[Kind.VOLUME]:
        usage = await store.counters.usage(counters)
        used |= {key: each.committed + each.reserved for key, each in usage.items()}
    if leases := of_kind[Kind.CONCURRENCY]:
        used |= await store.leases.held(leases)
    if buckets := of_kind[Kind.RATE]:
        used |= await store.rates.owed([shown[key].bucket(0) for key in buckets])
    return used


def _value(applied: Applied) -> float:
    limit = applied.limit
    return limit.burst if limit.kind is Kind.RATE else limit.value


def _labels(applied: Applied) -> tuple[str, str, str]:
    limit = applied.limit
    calls = f":{limit.method_class}" if limit.method_class else ""
    metric = f"{limit.metric}{calls}{'~shadow' if limit.shadow else ''}"
    return metric, str(limit.level), applied.subject
