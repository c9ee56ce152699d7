"""The metrics of several workers, as those of one gateway.

Counters and histograms are added up, also those of workers that have ended, so that none of them
falls. What a gauge is together its family says; only running workers have any.
"""

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

__all__ = ["Metric", "ended", "merged"]

_ADDED: Final = ("counter", "histogram")
_CREATED: Final = "_created"
"""When a counter began."""
_HOW: Final[Mapping[str, Callable[[float, float], float]]] = {
    "sum": operator.add,
    "max": max,
    "min": min,
}
_Series = tuple[str, tuple[tuple[str, str], ...]]


def merged(parts: Iterable[Sequence[Metric]], rules: Mapping[str, str]) -> Iterator[Metric]:
    """`rules`: `sum`, `max` or `min` of each gauge; `max` of one that is not there."""
    families: dict[str, Metric] = {}
    series: dict[str, dict[_Series, Sample]] = {}
    for part in parts:
        for each in part:
            family = families.setdefault(each.name, each)
            rule = "sum" if family.type in _ADDED else rules.get(family.name, "max")
            known = series.setdefault(each.name, {})
            for sample in each.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                before = known.get(key)
                known[key] = sample if before is None else _together(rule, before, sample)
    for name, family in families.items():
        metric = Metric(name, family.documentation, family.type, family.unit)
        metric.samples = list(series[name].values())
        yield metric


def ended(parts: Iterable[Sequence[Metric]]) -> list[Metric]:
    """What stays of workers that have ended."""
    return list(merged(([each for each in part if each.type in _ADDED] for part in parts), {}))


def _together(rule: str, one: Sample, other: Sample) -> Sample:
    if one.name.endswith(_CREATED):
        rule = "min"
    seen = [each.exemplar for each in (one, other) if each.exemplar is not None]
    newest = max(seen, key=lambda each: each.timestamp or 0.0, default=None)
    return one._replace(value=_HOW[rule](one.value, other.value), exemplar=newest)
