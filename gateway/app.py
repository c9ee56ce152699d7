"""The composition root: here and in what it imports from this folder (way.py, quota.py, watched.py,
served.py, told.py, observed.py) the parts of a gateway are made and joined, and nowhere else.

What was opened is closed when a later step fails.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from gateway import telemetry
from gateway.audit.log import Audit
from gateway.audit.opening import open_audit
from gateway.certificate_files import renewals
from gateway.changes.ends import TaskEnds
from gateway.changes.recovery import Recovery
from gateway.changes.submissions import Submissions
from gateway.config import Config
from gateway.events.running import Events
from gateway.limits.slots import SlotRenewals
from gateway.observed import Observables, Observed
from gateway.quota import Quota
from gateway.reload import Read, Reloader
from gateway.renewal import Renewals
from gateway.rpc.concurrency import Concurrency
from gateway.rpc.connections import Connections
from gateway.rpc.dispatch import Routes
from gateway.rpc.server import Servers
from gateway.schedules.watching import OnMissed, ScheduleWatch
from gateway.served import Served, make_served, make_serving, prepared_catalog
from gateway.state import Store, open_store
from gateway.tenants import Current
from gateway.told import learning, listeners, settling, telling
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.watch.hub import Hub
from gateway.watched import Watched, make_submissions, make_watched
from gateway.way import ALONE, ProcessRole, Way, clocks_of, open_way


@dataclass(frozen=True, slots=True, repr=False)
class App:
    """A gateway that serves. The addresses hold the real ports. Without the repr of all its parts:
    that would be megabytes.
    """

    catalog: Catalog
    client: Client
    store: Store
    recovery: Recovery
    slots: SlotRenewals
    submissions: Submissions
    ends: TaskEnds
    hub: Hub
    routes: Routes
    servers: Servers
    concurrency: Concurrency
    connections: Connections
    current: Current
    reloader: Reloader | None
    renewals: Renewals
    observed: Observed
    admin_address: str = ""
    """Empty where there is no admin port."""

    @property
    def address(self) -> str:
        return self.servers.address

    @property
    def health_address(self) -> str:
        return self.servers.health_address

    @property
    def http_address(self) -> str:
        """Empty where there is no HTTP listener."""
        return "".join(self.servers.addresses[1:])


@contextlib.asynccontextmanager
async def open_app(
    config: Config, load: Callable[[], Config] | None = None, role: ProcessRole = ALONE
) -> AsyncIterator[App]:
    """A running gateway.

    Raises DeclarationError or AddressInUse before it serves; on leaving, stops at once without
    draining.

    `load` reads the configuration anew, for reloads; without it there are none.
    """
    async with contextlib.AsyncExitStack() as stack:
        observed = Observed(config)
        stack.push_async_callback(observed.aclose)
        way = await open_way(stack, config, observed, role, prepared_catalog())
        store = await _store(stack, config, way)
        clocks = functools.partial(clocks_of, way.client, store.life)
        opening = open_audit(config.audit, store.anchors, clocks, way.renewable.append)
        audit = await stack.enter_async_context(opening)
        events = Events(config.events, store, way.clock)
        submissions, enricher = make_submissions(config, store, way)
        on_end, marks = settling(audit, events, way.catalog), audit.mark_removed
        quota = Quota(config, store, submissions, way.client, on_end=on_end, on_mark_removal=marks)
        await stack.enter_async_context(quota.renewals.running())
        await quota.recovery.start()
        every_s = config.quota.sweep_s
        await stack.enter_async_context(learning(audit, store.operations, quota, way, every_s))
        watched = make_watched(config, way, quota, enricher, listeners(events, audit, observed))
        stack.callback(submissions.subscribe(watched.hub.hear))
        serving = make_serving(
            config, way, quota, audit, observed.calls, on_failed=events.call_failed
        )
        stack.callback(serving.concurrency.close)
        served = make_served(config, way, quota, watched, serving, event_log=events.log)
        files = _renewals(config, way, served.servers)
        await stack.enter_async_context(events.running(quota.in_force, files.add))
        await stack.enter_async_context(files.running())
        await _serve(stack, way, quota, watched, served.servers)
        stack.enter_context(serving.connections.watched(served.servers.addresses))
        schedules = _schedules(config, store, way, quota, telling(quota, events, observed))
        await stack.enter_async_context(schedules.running())
        reloader = _reloader(stack, way, load, _taking_over(quota, audit, observed))
        app = _app(way, store, quota, watched, served, reloader=reloader, files=files)
        looked_at = _observables(app, way, audit, quota, events)
        address = await stack.enter_async_context(observed.port(looked_at))
        yield replace(app, admin_address=address)


async def _store(stack: contextlib.AsyncExitStack, config: Config, way: Way) -> Store:
    opened = open_store(config.state, way.clock, way.renewable.append, way.role.owner)
    return way.observed.measured(await stack.enter_async_context(opened))


def _renewals(config: Config, way: Way, servers: Servers) -> Renewals:
    seen = servers.certificates
    return renewals(config, way.clock, seen, way.transport, way.renewable, warns=way.role.first)


async def _serve(
    stack: contextlib.AsyncExitStack,
    way: Way,
    quota: Quota,
    watched: Watched,
    servers: Servers,
) -> None:
    """Starts what works in the background, then takes calls."""
    await stack.enter_async_context(watched.ends.running())
    await stack.enter_async_context(quota.submissions.running())
    await stack.enter_async_context(quota.recovery.running())
    stack.push_async_callback(way.client.aclose, 0)
    await stack.enter_async_context(quota.submissions.tracker.running())
    await stack.enter_async_context(watched.hub.running())
    stack.push_async_callback(servers.stop, 0)
    await servers.start()


def _taking_over(quota: Quota, audit: Audit, observed: Observed) -> Callable[[Read], None]:
    def take_over(read: Read) -> None:
        changed, _ = read
        quota.take_over(changed)
        audit.take_over(changed.audit.policy)
        observed.take_over(changed)
        telemetry.set_level(changed.log)

    return take_over


def _reloader(
    stack: contextlib.AsyncExitStack,
    way: Way,
    load: Callable[[], Config] | None,
    take_over: Callable[[Read], None],
) -> Reloader | None:
    if load is None:
        return None
    reloader = Reloader(
        way.read,
        load,
        way.snapshots,
        way.current,
        take_over,
        read_files=way.role.key_files,
    )
    stack.push_async_callback(_ended, asyncio.create_task(reloader.run()))
    return reloader


def _app(
    way: Way,
    store: Store,
    quota: Quota,
    watched: Watched,
    served: Served,
    *,
    reloader: Reloader | None,
    files: Renewals,
) -> App:
    return App(
        catalog=way.catalog,
        client=way.client,
        store=store,
        recovery=quota.recovery,
        slots=quota.renewals,
        submissions=quota.submissions,
        ends=watched.ends,
        hub=watched.hub,
        routes=served.routes,
        servers=served.servers,
        concurrency=served.serving.concurrency,
        connections=served.serving.connections,
        current=way.current,
        reloader=reloader,
        renewals=files,
        observed=way.observed,
    )


def _observables(app: App, way: Way, audit: Audit, quota: Quota, events: Events) -> Observables:
    return Observables(
        servers=app.servers,
        calls=app.concurrency,
        current=app.current,
        store=app.store,
        audit=audit,
        hub=app.hub,
        client=app.client,
        breakers=way.breakers,
        shares=way.shares,
        snapshots=way.snapshots,
        overrides=quota.pricer.overrides,
        sinks=events.pending.counts,
        scopes=lambda: quota.scopes,
        reloader=app.reloader,
        clock=way.clock,
        reader=way.reader,
        renewals=app.renewals,
        routes=app.routes,
    )


def _schedules(
    config: Config, store: Store, way: Way, quota: Quota, on_missed: OnMissed
) -> ScheduleWatch:
    return ScheduleWatch(
        config.schedules,
        quota.submissions.tracker,
        store.cursors,
        store.leases,
        way.clock,
        lambda: set(way.current.snapshot.accounts),
        on_missed,
    )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
