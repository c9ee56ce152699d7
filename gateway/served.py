"""What answers calls, what surrounds them, and the servers that bring them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from msgspec import Struct

from gateway.audit.log import Audit
from gateway.changes.submission_records import SubmissionRecords
from gateway.config import Config
from gateway.events.log import EventLog
from gateway.events.positions import Positions
from gateway.events.watching import EventHandlers
from gateway.operations import load_catalog
from gateway.protection.fleet import Fleet
from gateway.query.query import queried
from gateway.quota import Quota
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
from gateway.time_limit import TimeLimit
from gateway.upstream.catalog import Catalog
from gateway.upstream.drift import Drift
from gateway.upstream.upstream_error import codes
from gateway.watched import Watched
from gateway.way import Way

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


class Served(Struct, frozen=True):
    """What answers calls, what surrounds them, and the servers that bring them."""

    serving: Serving
    routes: Routes
    servers: Servers


def prepared_catalog() -> Catalog:
    """Of all RPCs.

    With it the other files are read that the first call to need them would read: a disk that hangs
    must hold up no call.
    """
    codes()
    validation.prepare()
    return load_catalog(rpcs(*_OWN), on_drift=Drift())


def make_serving(
    config: Config,
    way: Way,
    quota: Quota,
    audit: Audit,
    meter: CallMeter,
    *,
    on_failed: Callable[[Call], None],
) -> Serving:
    recorder = Recorder.of(audit, config.audit.networks, way.catalog)
    room = Concurrency(config.server.overload, way.clock)
    limits = config.server.limits
    arrivals = Arrivals(TimeLimit(limits.message_timeout_s), limits.max_message_bytes)
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


def make_served(
    config: Config,
    way: Way,
    quota: Quota,
    watched: Watched,
    serving: Serving,
    *,
    event_log: EventLog,
) -> Served:
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
    return Served(serving, made, _servers(config, way, serving, made))


def _servers(config: Config, way: Way, serving: Serving, served: Routes) -> Servers:
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
        has_room=serving.concurrency.has_room,
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
    config: Config, way: Way, quota: Quota, watched: Watched, event_log: EventLog
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
