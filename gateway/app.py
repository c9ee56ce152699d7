"""The composition root: the only place where the parts of a gateway are made and joined.

What was opened is closed when a later step fails.
"""

import asyncio
import contextlib
import functools
import random
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from cbrgateway.v1.task_pb2 import TaskStatus
from google.rpc.status_pb2 import Status
from msgspec import Struct

from gateway import telemetry
from gateway.audit.log import Audit
from gateway.audit.opening import open_audit
from gateway.audit.record import Task
from gateway.audit.task_record import TaskActivity
from gateway.background import in_background
from gateway.certificate_files import renewals
from gateway.changes.ends import Listener, TaskEnd, TaskEnds
from gateway.changes.ledger import AnyOperation, Ending
from gateway.changes.owners import TaskOwners
from gateway.changes.recovery import Recovery
from gateway.changes.submission_records import SubmissionRecords
from gateway.changes.submissions import Submissions
from gateway.clock import Clock, SystemClock
from gateway.config import Config
from gateway.errors import GatewayError
from gateway.events.log import EventLog
from gateway.events.positions import Positions
from gateway.events.running import Events
from gateway.events.watching import EventHandlers
from gateway.limits.slots import SlotRenewals
from gateway.observed import Observables, Observed
from gateway.operations import load_catalog
from gateway.protection.fleet import Fleet
from gateway.query.query import queried
from gateway.quota import Quota
from gateway.reload import Read, Reloader
from gateway.renewal import Renewable, Renewals
from gateway.rpc import server, validation
from gateway.rpc.arrival import Arrivals
from gateway.rpc.audited import Recorder, local_change
from gateway.rpc.call import Call, CallMeter
from gateway.rpc.concurrency import Concurrency
from gateway.rpc.connections import Connections
from gateway.rpc.descriptors import connections
from gateway.rpc.dispatch import Custom, Routes, grpc_handlers, routes
from gateway.rpc.forward import Forward
from gateway.rpc.handlers.access import AccessHandlers
from gateway.rpc.handlers.clouds import CloudHandlers
from gateway.rpc.handlers.handles import by_rpc, rpcs
from gateway.rpc.handlers.protection import ProtectionHandlers
from gateway.rpc.handlers.protection_reads import ProtectionReads
from gateway.rpc.handlers.quota import QuotaHandlers
from gateway.rpc.handlers.report import ReportHandlers
from gateway.rpc.handlers.subjects import Subjects
from gateway.rpc.handlers.tasks import TaskHandlers
from gateway.rpc.handlers.usages import Usages
from gateway.rpc.handlers.watch import WatchHandlers
from gateway.rpc.in_flight import InFlight
from gateway.rpc.pipeline import Serving
from gateway.rpc.server import Bounds, Servers
from gateway.rpc.settled import settled
from gateway.rpc.status import to_status
from gateway.schedules.missed import MissedRun
from gateway.schedules.watching import OnMissed, ScheduleWatch
from gateway.snapshots import Snapshots, key_files
from gateway.state import Heartbeat, Life, OperationStore, State, Store, StoreDown, open_store
from gateway.state.owner_address import OwnerAddress
from gateway.tenants import Current
from gateway.tenants.keys import FileKeys
from gateway.upstream.account import Account
from gateway.upstream.breakers import Breakers
from gateway.upstream.catalog import Catalog
from gateway.upstream.change_observer import ChangeResult
from gateway.upstream.client import Client
from gateway.upstream.drift import Drift
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.shares import Shares
from gateway.upstream.transport import OpenTransport, open_transport
from gateway.upstream.upstream_error import codes
from gateway.watch.enricher import TaskEnricher
from gateway.watch.hub import Hub
from gateway.watch.poll_lease import PollLease
from gateway.watch.poller import Source
from gateway.watch.resume import ResumeTokens
from gateway.watch.tracker import TaskTracker

log: structlog.stdlib.BoundLogger = structlog.get_logger()

PAGE_TOKEN_KEY_BYTES: Final = 32
_OWN = (
    AccessHandlers,
    CloudHandlers,
    EventHandlers,
    ProtectionHandlers,
    QuotaHandlers,
    ReportHandlers,
    TaskHandlers,
    WatchHandlers,
)
"""What is written by hand."""


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


class ProcessRole(Struct, frozen=True):
    """Where a process stands among others.

    `worker`: its number, if it is one of several that share a port. `owner`: who has the store's
    file for them. `key_files`: reads the files of keys that a configuration names.
    """

    worker: int | None = None
    owner: OwnerAddress | None = None
    key_files: Callable[[Config], Mapping[str, FileKeys]] = key_files

    @property
    def shared(self) -> bool:
        """Whether others listen on the same ports."""
        return self.worker is not None


ALONE: Final = ProcessRole()


class _Way(Struct, frozen=True):
    """The way to CBR, and the configuration by which it is gone."""

    clock: Clock
    transport: OpenTransport
    catalog: Catalog
    client: Client
    reader: UpstreamReader
    key: bytes
    tokens: PageTokens
    breakers: Breakers
    shares: Shares
    snapshots: Snapshots
    read: Read
    current: Current
    role: ProcessRole
    observed: Observed
    renewable: list[Renewable]
    """Files of certificates that parts have read."""


class _Watched(Struct, frozen=True):
    """Tasks as they run: what is added to them, who hears of their ends, and who follows them."""

    enricher: TaskEnricher
    ends: TaskEnds
    hub: Hub


class _Served(Struct, frozen=True):
    """What answers calls, what surrounds them, and the servers that bring them."""

    serving: Serving
    routes: Routes
    servers: Servers


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
        way = await _way(stack, config, observed, role)
        store = await _store(stack, config, way)
        clocks = functools.partial(_clocks, way.client, store.life)
        opening = open_audit(config.audit, store.anchors, clocks, way.renewable.append)
        audit = await stack.enter_async_context(opening)
        events = Events(config.events, store, way.clock)
        submissions, enricher = _submissions(config, store, way)
        on_end, marks = _settling(audit, events, way.catalog), audit.mark_removed
        quota = Quota(config, store, submissions, way.client, on_end=on_end, on_mark_removal=marks)
        await stack.enter_async_context(quota.renewals.running())
        await quota.recovery.start()
        every_s = config.quota.sweep_s
        await stack.enter_async_context(_learning(audit, store.operations, quota, way, every_s))
        watched = _watched(config, way, quota, enricher, _listeners(events, audit, observed))
        stack.callback(submissions.subscribe(watched.hub.hear))
        serving = _serving(config, way, quota, audit, observed.calls, on_failed=events.call_failed)
        stack.callback(serving.concurrency.close)
        served = _served(config, way, quota, watched, serving, event_log=events.log)
        certificates = served.servers.certificates
        files = renewals(config, way.clock, certificates, way.transport, way.renewable)
        await stack.enter_async_context(events.running(quota.in_force, files.add))
        await stack.enter_async_context(files.running())
        await _serve(stack, way, quota, watched, served.servers)
        stack.enter_context(serving.connections.watched(served.servers.addresses))
        schedules = _schedules(config, store, way, quota, _telling(quota, events, observed))
        await stack.enter_async_context(schedules.running())
        reloader = _reloader(stack, way, load, _taking_over(quota, audit, observed))
        app = _app(way, store, quota, watched, served, reloader=reloader, files=files)
        looked_at = _observables(app, way, audit, quota, events)
        address = await stack.enter_async_context(observed.port(looked_at))
        yield replace(app, admin_address=address)


async def _way(
    stack: contextlib.AsyncExitStack, config: Config, observed: Observed, role: ProcessRole
) -> _Way:
    clock, catalog = SystemClock(), _catalog()
    transport = open_transport(config.upstream.transport)
    stack.push_async_callback(transport.aclose)
    breakers = Breakers(clock, random.random)
    shares = Shares(transport, config.upstream.transport.max_connections)
    snapshots = Snapshots(transport, shares, breakers, clock, meter=observed.upstream)
    stack.push_async_callback(snapshots.aclose)
    files = await in_background(lambda: role.key_files(config))
    current = Current(snapshots.build(config, files))
    key = _token_key(config)
    tokens = PageTokens(key, clock)
    client = Client(catalog, shares, breakers, tokens, clock, meter=observed.upstream)

    def account_of(project: str) -> Account | None:
        return current.snapshot.accounts.get(project)

    return _Way(
        clock=clock,
        transport=transport,
        catalog=catalog,
        client=client,
        reader=UpstreamReader(catalog, client, account_of),
        key=key,
        tokens=tokens,
        breakers=breakers,
        shares=shares,
        snapshots=snapshots,
        read=(config, files),
        current=current,
        role=role,
        observed=observed,
        renewable=observed.certificates(),
    )


async def _store(stack: contextlib.AsyncExitStack, config: Config, way: _Way) -> Store:
    opened = open_store(config.state, way.clock, way.renewable.append, way.role.owner)
    return way.observed.measured(await stack.enter_async_context(opened))


def _listeners(events: Events, audit: Audit, observed: Observed) -> list[Listener]:
    """Of ends of tasks. Counted last: what one before it fails to keep is told again."""
    records = [_recording(audit)] if audit.on else []
    return [*events.listeners(), *records, observed.task_ended]


def _settling(
    audit: Audit, events: Events, catalog: Catalog
) -> Callable[[AnyOperation, Ending], None]:
    def on_end(op: AnyOperation, ending: Ending) -> None:
        audit.settled(op.id, ending.result.name, lambda: settled(catalog, op, ending))
        events.change_ended(op, ending.result)

    return on_end


def _watched(
    config: Config,
    way: _Way,
    quota: Quota,
    enricher: TaskEnricher,
    listeners: list[Listener],
) -> _Watched:
    tracker = quota.submissions.tracker
    resumes = ResumeTokens(way.key, way.clock, config.watch.resume_s, config.watch.lag_us)
    ends = TaskEnds(quota.submissions, tracker, quota.tenant_of, listeners)
    return _Watched(enricher, ends, Hub(tracker, resumes))


def _serving(
    config: Config,
    way: _Way,
    quota: Quota,
    audit: Audit,
    meter: CallMeter,
    *,
    on_failed: Callable[[Call], None],
) -> Serving:
    recorder = Recorder.of(audit, config.audit.networks, way.catalog)
    room = Concurrency(config.server.overload, way.clock)
    limits = config.server.limits
    arrivals = Arrivals(limits.message_timeout_s, limits.max_message_bytes)
    return Serving(
        way.current,
        quota.admission,
        recorder,
        meter,
        on_failed,
        InFlight(),
        room,
        Connections(limits, way.clock),
        arrivals,
    )


def _served(
    config: Config,
    way: _Way,
    quota: Quota,
    watched: _Watched,
    serving: Serving,
    *,
    event_log: EventLog,
) -> _Served:
    own = _own(config, way, quota, watched, event_log)
    forward = Forward(
        way.catalog,
        way.client,
        quota.changes,
        quota.dry_run,
        watched.enricher,
        watched.hub,
        queried(way.catalog),
    )
    made = routes(way.catalog, serving, forward.carry_out, _custom(way.catalog, own))
    return _Served(serving, made, _servers(config, way, serving, made))


def _servers(config: Config, way: _Way, serving: Serving, served: Routes) -> Servers:
    by_http = config.http.listen is not None
    room = connections(
        config.server.limits.max_connections,
        config.upstream.transport.max_connections * len(config.upstream.regions),
        listeners=1 + by_http,
    )
    shared = way.role.shared
    beside = _http(config, served, serving, room, shared=shared) if by_http else None
    bounds = Bounds(room, max(each.max_request_bytes for each in way.catalog))
    return Servers(
        config.server,
        grpc_handlers(served),
        way.catalog.services(),
        serving.in_flight,
        bounds,
        beside=beside,
        shared=shared,
    )


def _http(
    config: Config, served: Routes, serving: Serving, room: int, *, shared: bool
) -> server.Listener:
    """`room`: for so many connections."""
    from gateway.http.opening import (  # noqa: PLC0415 - its libraries are loaded where it is used
        http_listener,
    )

    arrivals = serving.arrivals
    return http_listener(config.http, config.server, served, arrivals, room, shared=shared)


def _own(
    config: Config, way: _Way, quota: Quota, watched: _Watched, event_log: EventLog
) -> dict[str, Callable[..., Awaitable[Any]]]:
    """What is written by hand, by RPC."""
    records = SubmissionRecords(quota.submissions.operations, way.catalog)
    usages = Usages(quota.pricer, quota.admission.rates, quota.admission.leases, way.clock)
    reads = ProtectionReads(Fleet(way.reader), way.clock)
    return (
        AccessHandlers(way.catalog, usages).by_rpc()
        | QuotaHandlers(
            pricer=quota.pricer,
            usages=usages,
            operations=quota.changes.operations,
            outcomes=quota.outcomes,
            tokens=way.tokens,
            clock=way.clock,
            subjects=Subjects(quota.pricer, quota.subjects, lambda: quota.scopes, way.clock),
        ).by_rpc()
        | TaskHandlers(records, way.tokens).by_rpc()
        | by_rpc(ProtectionHandlers(reads, way.tokens))
        | by_rpc(
            ReportHandlers(reads, way.tokens, config.audit.directory, config.schedules.grace_s)
        )
        | by_rpc(WatchHandlers(watched.hub, records))
        | by_rpc(EventHandlers(event_log, watched.hub, Positions(way.key, way.clock)))
        | by_rpc(CloudHandlers(way.catalog, config.quota.markers))
    )


async def _serve(
    stack: contextlib.AsyncExitStack,
    way: _Way,
    quota: Quota,
    watched: _Watched,
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
    way: _Way,
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
    way: _Way,
    store: Store,
    quota: Quota,
    watched: _Watched,
    served: _Served,
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


def _observables(app: App, way: _Way, audit: Audit, quota: Quota, events: Events) -> Observables:
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


def _telling(quota: Quota, events: Events, observed: Observed) -> OnMissed:
    """Has a run told that did not come; counted last, as ends are."""

    async def tell(run: MissedRun) -> None:
        await events.schedule_missed(run, quota.tenant_of(run.project))
        observed.schedule_missed(run)

    return tell


def _schedules(
    config: Config, store: Store, way: _Way, quota: Quota, on_missed: OnMissed
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


def _recording(audit: Audit) -> Listener:
    """Has the audit log told how work ends."""

    async def tell(end: TaskEnd) -> None:
        task, facts = end.task, end.facts
        row = Task(
            uid=task.id,
            type=end.type,
            status=TaskStatus.Name(task.status).removeprefix("TASK_STATUS_"),
            outcome=facts.outcome,
            code=facts.code,
            submission=end.submission,
            policy=end.policy,
            caught_up=end.caught_up,
        )
        activity = TaskActivity(
            row,
            project=end.project.partition("/")[0],
            tenant=end.tenant,
            principal=end.principal.rpartition("/")[2],
            operation=end.rpc,
            reason=facts.reason,
            text=facts.text,
            resources=facts.resources,
            began=task.start_time.ToNanoseconds() / 1e9,
            ended=task.end_time.ToNanoseconds() / 1e9,
            trace_id=end.trace_id,
            losses=end.losses,
        )
        await audit.task_ended(activity)

    return tell


def _catalog() -> Catalog:
    """Of all RPCs.

    With it the other files are read that the first call to need them would read: a disk that hangs
    must hold up no call.
    """
    codes()
    validation.prepare()
    return load_catalog(rpcs(*_OWN), on_drift=Drift())


def _custom(catalog: Catalog, own: Mapping[str, Callable[..., Awaitable[Any]]]) -> Custom:
    """What is written by hand, as it is served."""
    streams = {rpc for rpc in own if catalog[rpc].descriptor.server_streaming}
    return Custom(
        unary={
            rpc: handler if catalog[rpc].reads else local_change(handler)
            for rpc, handler in own.items()
            if rpc not in streams
        },
        streams={rpc: own[rpc] for rpc in streams},
    )


def _token_key(config: Config) -> bytes:
    return (
        config.page_token_key.reveal().encode()
        if config.page_token_key
        else secrets.token_bytes(PAGE_TOKEN_KEY_BYTES)
    )


def _status(error: GatewayError) -> Status:
    """The form that errors have in events and tasks, which belong to no call."""
    return to_status(error, "")


def _submissions(config: Config, store: Store, way: _Way) -> tuple[Submissions, TaskEnricher]:
    """What follows the tasks of all projects, and what adds the gateway's own fields to them."""

    def projects() -> Collection[str]:
        return way.current.snapshot.accounts.keys()

    alone = config.state.kind == "sqlite" and way.role.owner is None
    heartbeat = Heartbeat(store.leases, way.clock, uuid.uuid4().hex, alone=alone)
    owners = TaskOwners()
    enricher = TaskEnricher(owners.of, _status)
    turn_s = 3 * config.watch.busy_s
    tracker = TaskTracker(
        Source(way.reader, enricher.add, _status),
        config.watch,
        way.clock,
        store.cursors,
        PollLease(store.leases, store.channel, heartbeat.owner, way.clock, turn_s),
        projects,
    )
    submissions = Submissions(
        store.operations, store.leases, tracker, owners, way.clock, config.tasks, heartbeat
    )
    return submissions, enricher


async def _clocks(client: Client, data: Life) -> list[float]:
    """What CBR's clocks and the store's say now, as far as they are known."""
    told = client.times()
    with contextlib.suppress(StoreDown):
        if (now := await data.time()) is not None:
            told.append(now)
    return told


@contextlib.asynccontextmanager
async def _learning(
    audit: Audit, operations: OperationStore, quota: Quota, way: _Way, every_s: float
) -> AsyncIterator[None]:
    """Tells the audit log, from now on, what the store knows of changes whose result it has not:
    an earlier process or another replica has learnt it.
    """

    async def run() -> None:
        while True:
            await way.clock.sleep(every_s)
            try:
                await _settle(audit, operations, quota, way.catalog)
            except Exception:
                log.exception("the ends of changes could not be recorded; that is tried again")

    await _settle(audit, operations, quota, way.catalog)
    task = asyncio.create_task(run())
    try:
        yield
    finally:
        await _ended(task)


async def _settle(audit: Audit, operations: OperationStore, quota: Quota, catalog: Catalog) -> None:
    try:
        # One by one: they are few, and those that have ended in a day may be a million.
        known = [await operations.get(op_id) for op_id in audit.unsettled]
    except StoreDown as down:
        log.warning("the store does not answer", error=str(down))
        return
    for op in known:
        # The reservation of what is not sent runs out.
        expired = op is not None and op.state is State.EXPIRED and not quota.is_under_way(op.id)
        if op is not None and (expired or op.state in {State.COMMITTED, State.RELEASED}):
            done = op.state is State.COMMITTED
            result = ChangeResult.DONE if done else ChangeResult.NOTHING
            ending = Ending(result, None, op.resource_id, op.note)
            audit.settled(op.id, result.name, functools.partial(settled, catalog, op, ending))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
