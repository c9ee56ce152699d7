"""What a scrape of a gateway shows."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True)
class Scrape:
    """`series`: value by name and labels."""

    text: str
    series: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name, **labels):
        """Of the one series with these labels; None where there is none."""
        return self.series.get((name, frozenset(labels.items())))

    def total(self, name, **labels):
        """The sum of all series that have these labels, among others."""
        wanted = set(labels.items())
        return sum(v for (n, given), v in self.series.items() if n == name and wanted <= given)

    def names(self):
        return {name for name, _ in self.series}


async def scrape(world, accept="text/plain", under_way=0):
    """Once no more calls than that are under way: a caller learns that its call has failed a moment
    before it is counted.
    """
    async with asyncio.timeout(60):
        while True:
            found = await _scrape(world, accept)
            if found.value("cbr_calls_in_flight") <= under_way:
                return found
            await asyncio.sleep(0.01)


async def _scrape(world, accept):
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.get(
            f"http://{world.app.admin_address}/metrics", headers={"Accept": accept}
        )
    assert answer.status_code == 200, answer.text
    parse = open_metrics if accept == OPEN_METRICS else plain
    samples = [each for family in parse(answer.text) for each in family.samples]
    series = {(each.name, frozenset(each.labels.items())): each.value for each in samples}
    assert len(series) == len(samples), "the same series twice"
    return Scrape(answer.text, series)
