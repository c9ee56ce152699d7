"""What a gateway tells of itself: metrics, traces and the admin port, joined with the parts that
they look at.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from wsgiref.types import WSGIApplication

from msgspec import Struct

from gateway.admin.port import METRICS, VERSION, admin_port
from gateway.admin.probes import Check, Finding, Probes, configuration_in_use, store_answers
from gateway.admin.version import version_page
from gateway.audit.log import Audit
from gateway.changes.ends import TaskEnd
from gateway.clock import Clock
from gateway.config import Config
from gateway.events.sink_queues import SinkCounts
from gateway.limits.limits import Scope
from gateway.limits.overrides import LimitOverrides
from gateway.metrics.merged import Metric
from gateway.metrics.metrics import Metrics, Parts
from gateway.metrics.process import ProcessParts
from gateway.metrics.upstream import UpstreamParts
from gateway.reload import Reloader
from gateway.renewal import Renewable, Renewals
from gateway.rpc.call import CallMeter, NoCallMeter
from gateway.rpc.concurrency import Concurrency
from gateway.rpc.dispatch import Routes
from gateway.rpc.server import Servers
from gateway.schedules.missed import MissedRun
from gateway.snapshots import Snapshots
from gateway.state import Store
from gateway.tenants import Current
from gateway.tracing.settings import TracingSettings
from gateway.upstream.breakers import Breakers
from gateway.upstream.client import Client
from gateway.upstream.meter import NoUpstreamMeter, UpstreamMeter
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.shares import Shares
from gateway.watch.hub import Hub

if TYPE_CHECKING:
    from gateway.console.view import View
    from gateway.tracing.opening import Tracing


class Observables(Struct, frozen=True):
    """The parts of a running gateway that are looked at. `scopes`: whose use limits count."""

    servers: Servers
    calls: Concurrency
    current: Current
    store: Store
    audit: Audit
    hub: Hub
    client: Client
    breakers: Breakers
    shares: Shares
    snapshots: Snapshots
    overrides: LimitOverrides
    sinks: Mapping[str, SinkCounts]
    scopes: Callable[[], Sequence[Scope]]
    reloader: Reloader | None
    clock: Clock
    reader: UpstreamReader
    renewals: Renewals
    routes: Routes


class Observed:
    """One per process. Made first, since other parts tell it what they do."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.checks: Mapping[str, Check] = {}
        """What probes ask, once there is a port for them or a parent that asks."""
        self.view: View | None = None
        """What the console shows of this process, where it is on."""
        self._metrics = (
            Metrics(config.metrics, _tenants(config), _projects(config))
            if config.metrics.enabled
            else None
        )
        self.calls: CallMeter = self._metrics.server if self._metrics else NoCallMeter()
        self.upstream: UpstreamMeter = (
            self._metrics.upstream if self._metrics else NoUpstreamMeter()
        )
        self._tracing = _tracing(config.tracing) if config.tracing else None
        if self._tracing:
            self.calls = self._tracing.calls(self.calls)
            self.upstream = self._tracing.attempts(self.upstream)

    def certificates(self) -> list[Renewable]:
        """The files of authorities that have been read, which may be renewed."""
        found = self._tracing.certificates() if self._tracing is not None else None
        return [found] if found is not None else []

    async def aclose(self) -> None:
        """Sends the last traces."""
        if self._tracing:
            await self._tracing.aclose()

    def measured(self, store: Store) -> Store:
        return self._metrics.records.measured(store) if self._metrics else store

    async def task_ended(self, end: TaskEnd) -> None:
        """A listener of TaskEnds."""
        if self._metrics:
            self._metrics.work.task_ended(end.project, end.type, end.facts.outcome)
            if (end.type, end.facts.outcome) == ("BACKUP", "succeeded"):
                self._metrics.vaults.succeeded(end.project, end.task)

    def schedule_missed(self, run: MissedRun) -> None:
        if self._metrics:
            self._metrics.work.schedule_missed(run.project)

    def samples(self) -> list[Metric]:
        """All metrics as they are now; off the event loop."""
        return self._metrics.samples() if self._metrics else []

    def take_over(self, config: Config) -> None:
        """After a reload: other tenants and projects."""
        if self._metrics:
            self._metrics.take_over(_tenants(config), _projects(config))

    @contextlib.asynccontextmanager
    async def port(self, parts: Observables) -> AsyncIterator[str]:
        """The address of the admin port while it answers; empty where there is none.

        Raises AddressInUse.
        """
        async with contextlib.AsyncExitStack() as stack:
            self.checks = _checks(parts)
            probes = Probes(
                asyncio.get_running_loop(),
                lambda: not parts.servers.health.stalled,
                self.checks,
            )
            pages = {VERSION: version_page(lambda: parts.current.snapshot.version)}
            if self._metrics:
                parts.overrides.on_shadow = self._metrics.limits.would_refuse
                looked_at = self._parts(parts)
                await stack.enter_async_context(self._metrics.running(looked_at))
                pages[METRICS] = self._metrics.page()
            if self._config.admin.console:
                self.view = self._view(parts)
                if self._config.admin.listen is not None:
                    pages |= _console(parts, probes, self.view)
            port = admin_port(self._config.admin, probes, pages)
            yield await stack.enter_async_context(port)

    def _view(self, parts: Observables) -> "View":
        from gateway.console.opening import (  # noqa: PLC0415 - loaded where it is used
            Sources,
            view,
        )

        vaults = self._metrics.vaults if self._metrics and self._config.metrics.max_vaults else None
        sources = Sources(
            current=parts.current,
            routes=parts.routes,
            pollers=parts.hub.tracker.pollers,
            breakers=parts.breakers,
            vaults=vaults.known if vaults is not None else None,
            audit=parts.audit,
            anchors=parts.store.anchors,
        )
        return view(self._config.audit, sources)

    def _parts(self, parts: Observables) -> Parts:
        snapshots, reloader = parts.snapshots, parts.reloader
        budgets = parts.client.factory.budgets
        return Parts(
            parts.calls,
            parts.servers.core_calls,
            parts.store,
            parts.audit,
            parts.hub,
            UpstreamParts(parts.breakers, budgets, parts.shares, snapshots.token_ages),
            ProcessParts(
                configuration=lambda: parts.current.snapshot.version,
                reload_refused=lambda: reloader is not None and reloader.refused,
                expiries=lambda: parts.renewals.ends,
                certificates_refused=lambda: parts.renewals.refused,
            ),
            limits=lambda: (parts.overrides.limits, parts.scopes()),
            clock=parts.clock,
            reader=parts.reader,
            projects=lambda: parts.current.snapshot.accounts,
            sinks=parts.sinks,
        )


def _console(parts: Observables, probes: Probes, view: "View") -> Mapping[str, WSGIApplication]:
    from gateway.console.console import (  # noqa: PLC0415 - its library is loaded where it is used
        Console,
    )
    from gateway.console.facts import Status  # noqa: PLC0415 - as above

    status = Status(
        checks=probes.found,
        configuration=lambda: parts.current.snapshot.version,
        problems=lambda: parts.reloader.problems if parts.reloader is not None else (),
    )
    return Console(status, view).routes()


def _tracing(settings: TracingSettings) -> "Tracing":
    from gateway.tracing.opening import (  # noqa: PLC0415 - its library is loaded where it is used
        Tracing,
    )

    return Tracing(settings)


def _tenants(config: Config) -> list[str]:
    return [tenant.id for tenant in config.tenants]


def _projects(config: Config) -> list[str]:
    return [project.key for tenant in config.tenants for project in tenant.projects]


def _checks(parts: Observables) -> dict[str, Check]:
    """What this process needs on its own side in order to take calls."""

    async def serving() -> Finding:
        on = parts.servers.health.serving
        return Finding(good=on, text="" if on else "draining")

    async def configuration() -> Finding:
        refused = parts.reloader is not None and parts.reloader.refused
        return configuration_in_use(parts.current.snapshot.version, refused=refused)

    async def recorded() -> Finding:
        trouble = parts.audit.trouble
        text = "" if parts.audit.on else "there is no audit log"
        return Finding(good=not trouble, text=trouble or text)

    return {
        "serving": serving,
        "configuration": configuration,
        "store": lambda: store_answers(parts.store),
        "audit": recorded,
    }
