"""All metrics of one process: what the other parts tell, and what is looked at."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final
from wsgiref.types import WSGIApplication

import prometheus_client
import structlog
from msgspec import Struct
from prometheus_client import CollectorRegistry

from gateway.audit.log import Audit
from gateway.clock import Clock
from gateway.events.sink_queues import SinkCounts
from gateway.limits.limits import Limits, Scope
from gateway.metrics import (
    limits,
    overload,
    process,
    records,
    server,
    sinks,
    upstream,
    vaults,
    work,
)
from gateway.metrics.labels import Labels
from gateway.metrics.limits import LimitMetrics
from gateway.metrics.merged import Metric
from gateway.metrics.overload import OverloadMetrics
from gateway.metrics.process import ProcessMetrics, ProcessParts
from gateway.metrics.readings import Readings
from gateway.metrics.records import RecordMetrics
from gateway.metrics.server import ServerMetrics
from gateway.metrics.settings import MetricsSettings
from gateway.metrics.sinks import SinkMetrics
from gateway.metrics.upstream import UpstreamMetrics, UpstreamParts
from gateway.metrics.vaults import VaultMetrics
from gateway.metrics.work import WorkMetrics
from gateway.rpc.concurrency import Concurrency
from gateway.rpc.core_calls import CoreCalls
from gateway.state import Store
from gateway.upstream.reader import UpstreamReader
from gateway.watch.hub import Hub

FAMILIES: Final = (
    *server.FAMILIES,
    *overload.FAMILIES,
    *upstream.FAMILIES,
    *limits.FAMILIES,
    *records.FAMILIES,
    *work.FAMILIES,
    *vaults.FAMILIES,
    *sinks.FAMILIES,
    *process.FAMILIES,
)
"""Every metric, as docs/observability.md lists them."""

_FIRST_VAULTS_S: Final = 60.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Parts(Struct, frozen=True):
    """What is looked at while the gateway runs. `limits`: those in force, and whose they are."""

    calls: Concurrency
    core: CoreCalls
    store: Store
    audit: Audit
    hub: Hub
    upstream: UpstreamParts
    process: ProcessParts
    limits: Callable[[], tuple[Limits, Sequence[Scope]]]
    clock: Clock
    reader: UpstreamReader
    projects: Callable[[], Collection[str]]
    """Those that are served."""
    sinks: Mapping[str, SinkCounts]
    """Of events, by name."""


class Metrics:
    """Made before the parts that tell it what they do; `running` looks at the rest."""

    def __init__(
        self, settings: MetricsSettings, tenants: Iterable[str], projects: Iterable[str]
    ) -> None:
        self.registry = CollectorRegistry()
        self._readings = Readings(self.registry)
        self._settings = settings
        self._tenants = Labels(settings.max_tenants, settings.tenants or tenants)
        self._all_tenants = not settings.tenants
        self._projects = Labels(settings.max_projects, projects)
        self.limits = LimitMetrics(self._readings, settings.max_limits)
        refused = self.limits.refused
        self.server = ServerMetrics(self._readings, self._tenants, refused)
        self.overload = OverloadMetrics(self._tenants)
        self.upstream = UpstreamMetrics(self._readings)
        self.records = RecordMetrics(self._readings)
        self.work = WorkMetrics(self._readings, self._projects)
        self.vaults = VaultMetrics(self._readings, settings.max_vaults, self._projects)
        self.sinks = SinkMetrics()
        self.process = ProcessMetrics(self.registry)

    def page(self) -> WSGIApplication:
        """`/metrics`: as text, or as OpenMetrics with exemplars where that is asked for."""
        page: WSGIApplication = prometheus_client.make_wsgi_app(self.registry)
        return page

    def samples(self) -> list[Metric]:
        """As they are now; off the event loop."""
        return list(self.registry.collect())

    def take_over(self, tenants: Iterable[str], projects: Iterable[str]) -> None:
        """After a reload."""
        if self._all_tenants:
            self._tenants.learn(tenants)
        self._projects.learn(projects)

    @contextlib.asynccontextmanager
    async def running(self, parts: Parts) -> AsyncIterator[None]:
        """Looks at the parts until left."""
        self.overload.look_at(parts.calls, parts.core, self._readings)
        self.upstream.look_at(parts.upstream, self._readings)
        self.records.look_at(parts.audit, self._readings)
        self.work.look_at(parts.hub, self._readings)
        self.sinks.look_at(parts.sinks, self._readings)
        self.process.look_at(parts.process, self._readings)
        await self._sample(parts)
        tasks = [
            asyncio.create_task(self._samples(parts)),
            asyncio.create_task(self.process.watch_loop()),
        ]
        if self._settings.max_vaults:
            self.vaults.expect(parts.projects())
            tasks.append(asyncio.create_task(self._vaults(parts)))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _samples(self, parts: Parts) -> None:
        while True:
            await parts.clock.sleep(self._settings.sample_s)
            await self._sample(parts)

    async def _vaults(self, parts: Parts) -> None:
        """Not at once: a gateway that starts has more urgent things to ask of CBR."""
        await parts.clock.sleep(min(_FIRST_VAULTS_S, self._settings.vaults_s))
        while True:
            try:
                await self.vaults.sample(parts.reader, list(parts.projects()))
            except Exception:
                log.exception("vaults cannot be read for the metrics; the next try follows")
            await parts.clock.sleep(self._settings.vaults_s)

    async def _sample(self, parts: Parts) -> None:
        try:
            await self.records.sample(parts.store)
            await self.limits.sample(*parts.limits(), parts.store, parts.clock)
        except Exception:
            log.exception("a sample for the metrics failed; the next one follows")
