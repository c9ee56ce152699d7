"""Limits: how much of each is used, and what they refused."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from prometheus_client.core import Metric as Exposed

from gateway.clock import Clock
from gateway.errors import QuotaViolation, Violation
from gateway.limits.counted import counted
from gateway.limits.limits import Applied, Level, Limits, Scope, day_of
from gateway.metrics.family import Family
from gateway.metrics.readings import Readings
from gateway.state import Counters, StoreDown, Usage
from gateway.upstream.amounts import Metric

_SUBJECT: Final = ("metric", "level", "subject")
VALUE: Final = Family(
    "cbr_limit_value",
    "gauge",
    "A limit on what exists or on a day's volume, and whose it is; of at most"
    " `metrics.max_limits` counters.",
    _SUBJECT,
)
USED: Final = Family(
    "cbr_limit_used",
    "gauge",
    "How much of it is used, with what changes under way have reserved, at the last sample.",
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


@dataclass(frozen=True, slots=True)
class _Sampled:
    counters: Sequence[tuple[Applied, Usage]] = ()
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
        self, limits: Limits, scopes: Sequence[Scope], counters: Counters, clock: Clock
    ) -> None:
        """Asks the store."""
        keys = counted(limits, scopes, day_of(clock.time())[0])
        shown = list(keys)[: self._most]
        try:
            usage = await counters.usage(shown) if shown else {}
        except StoreDown:
            return
        found = [(keys[key], usage[key]) for key in shown]
        self._sampled = _Sampled(found, len(keys) - len(shown))

    def _read(self) -> Iterable[Exposed]:
        found = self._sampled
        yield VALUE.gauge((_labels(each), each.limit.value) for each, _ in found.counters)
        yield USED.gauge(
            (_labels(each), used.committed + used.reserved) for each, used in found.counters
        )
        yield LEFT_OUT.one(found.left_out)
        yield REFUSED.total(list(self._refused.items()))
        yield SHADOW.total(list(self._shadow.items()))


def _labels(applied: Applied) -> tuple[str, str, str]:
    limit = applied.limit
    metric = f"{limit.metric}{'~shadow' if limit.shadow else ''}"
    return metric, str(limit.level), applied.subject
