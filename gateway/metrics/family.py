"""What a metric is, declared once: for the code that counts, the documents and the tests."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from gateway.metrics.durations import Durations

_UNITS: Final = ("seconds", "bytes")
Values: TypeAlias = Iterable[tuple[Sequence[str], float]]
"""Labels and value of each series."""


class Family(Struct, frozen=True):
    """One metric. `name`: as Prometheus shows it, so a counter's ends with `_total`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    together: Literal["sum", "max", "min"] = "max"
    """What a gauge of several workers is together; counters and histograms are added up."""

    @property
    def unit(self) -> str:
        base = self.name.removesuffix("_total")
        return next((unit for unit in _UNITS if base.endswith(f"_{unit}")), "")

    def gauge(self, values: Values) -> GaugeMetricFamily:
        """As it is at a scrape."""
        found = GaugeMetricFamily(self.name, self.meaning, labels=self.labels, unit=self.unit)
        for labels, value in values:
            found.add_metric(labels, value)
        return found

    def total(self, values: Values) -> CounterMetricFamily:
        """As `gauge`, of a counter."""
        name = self.name.removesuffix("_total")
        found = CounterMetricFamily(name, self.meaning, labels=self.labels, unit=self.unit)
        for labels, value in values:
            found.add_metric(labels, value)
        return found

    def histogram(self, values: Iterable[tuple[Sequence[str], Durations]]) -> HistogramMetricFamily:
        """As `gauge`, of a histogram."""
        found = HistogramMetricFamily(self.name, self.meaning, labels=self.labels, unit=self.unit)
        for labels, each in values:
            found.add_metric(labels, each.buckets(), each.seconds)
        return found

    def one(self, value: float) -> GaugeMetricFamily:
        """As `gauge`, without labels."""
        return self.gauge([((), value)])
