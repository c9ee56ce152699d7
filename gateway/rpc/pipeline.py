"""What surrounds every call; the same for unary calls and streams.

From the outside to the inside:

    logged      one line per call, whatever its end
    audited     its records, and of a change one before it is made
    answered    errors become statuses; anything unexpected becomes INTERNAL with an error id and no
                text
    let in      at once, but for a moment while the process begins to end
    identified  who calls, and for which project
    in turn     there is room for the call, which is held until it ends; a stream, until it begins
    admitted    within the limits of rate and concurrency; the slots taken are held until the call
                ends. A change takes them once its request is read, unless it is only validated
    read        its request, which has so much time to arrive

Around all of them the call is counted and traced, whatever its end. One function has all of
this, from top to bottom: a context manager for each stage would cost more than what it does.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Token
from typing import Any, Final, NoReturn

import grpc
import structlog
from cbrgateway.v1 import errors_pb2, options_pb2
from google.rpc import code_pb2
from grpc_status import rpc_status
from msgspec import Struct

from gateway import telemetry
from gateway.errors import GatewayError
from gateway.ids import new_id
from gateway.limits.admission import Admission
from gateway.limits.limits import COST, method_class
from gateway.reasons import reason_name
from gateway.rpc import identity
from gateway.rpc.arrival import Arrivals
from gateway.rpc.audited import Recorder, Trail, audited
from gateway.rpc.call import Call, CallMeter
from gateway.rpc.concurrency import Concurrency
from gateway.rpc.connections import Connections
from gateway.rpc.context import Context
from gateway.rpc.in_flight import InFlight
from gateway.rpc.status import pushback, to_status
from gateway.rpc.validation import parse
from gateway.tenants import Current, Principal, Seat, Snapshot
from gateway.upstream.declaration import Binding

_STATUS_S: Final = 1.0
"""How long the handler of a stream waits until its status is taken."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Serving(Struct, frozen=True):
    """What surrounds every call."""

    current: Current
    admission: Admission
    recorder: Recorder
    meter: CallMeter
    on_failed: Callable[[Call], None]
    """Hears of each call that ends with an error. Raises nothing."""
    in_flight: InFlight
    concurrency: Concurrency
    connections: Connections
    arrivals: Arrivals


Serve = Callable[[object, Context], Coroutine[Any, Any, bytes | None]]
"""Carries out a call that a transport brings: the bytes of its answer, None for a stream. What it
takes first is how gRPC hands a request over, and is not used.
"""


def served(
    binding: Binding,
    serving: Serving,
    handle: Callable[..., Awaitable[Any]],
    opened: Callable[[Call, Context], object] | None = None,
) -> Serve:
    """The whole way of a call of one RPC. `opened`: of a stream, what `handle` writes it with."""
    room, cost = serving.concurrency, COST[method_class(binding)]
    most, known = binding.max_request_bytes, serving.connections.identified.add
    lasts = binding.concurrency == options_pb2.CONCURRENCY_STREAMS
    # What is answered from memory alone costs less than to wait for it.
    waits = lasts or not (binding.custom and binding.reads)

    async def serve(_requests: object, context: Context) -> bytes | None:
        call = Call(binding, context.time_remaining(), serving.current.snapshot)
        serving.in_flight.begin(call)
        serving.meter.started(call, context)
        logging = _logged_as(call)
        trail = audited(call, serving.recorder, context)
        try:
            _named(call, context)
            if serving.in_flight.held:
                await serving.in_flight.let_in()
            await identified(call, context)
            known(context.peer())
            serving.recorder.audit.guard(reads=binding.reads)
            if waits and not room.take(call):
                await room.wait(call, cost)
            entry = await serving.admission.enter(call.quota_scope, binding, call.id)
            call.slots = entry.slots
            try:
                call.trailers.update(entry.trailers)
                call.request = parse(binding, await serving.arrivals.read(context, most))
                if lasts:
                    room.leave(call)
                if not binding.reads:
                    await _entered(call, serving.admission)
                if opened is None:
                    call.response = await handle(call, call.request)
                else:
                    await handle(call, call.request, opened(call, context))
            finally:
                if call.slots.taken:
                    await call.slots.leave()
            context.set_trailing_metadata(tuple(call.trailers.items()))
            return call.response.SerializeToString() if call.response is not None else None
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - each becomes a status
            await _failed(call, context, serving.in_flight.why(error), serving.on_failed)
        finally:
            room.leave(call)
            _ended(call, serving, trail, logging)

    return serve


async def _entered(call: Call, admission: Admission) -> None:
    """Takes the slots of a change that is to be made."""
    request: Any = call.request
    call.validates = request.validate_only
    if call.validates:
        call.log_fields["validate_only"] = True
    else:
        call.slots = await admission.enter_change(call.quota_scope, call.binding, call.id)


def _logged_as(call: Call) -> Token[Mapping[str, object] | None]:
    """Has every log line from here on tell whose call it is."""
    call.log_fields |= {"request_id": call.id, "rpc": call.binding.rpc}
    return telemetry.CALL_FIELDS.set(call.log_fields)


def _ended(
    call: Call,
    serving: Serving,
    trail: Trail | None,
    logging: Token[Mapping[str, object] | None],
) -> None:
    """Puts the call on record, counts it, and writes its line."""
    if trail is not None:
        trail.finish()
    serving.meter.ended(call)
    known: dict[str, object] = {
        "code": call.outcome,
        "duration_ms": round((time.monotonic() - call.started) * 1000, 1),
        "config": call.snapshot.version,
    }
    if call.principal is not None:
        known["principal"] = call.principal.id
    if call.project is not None:
        known["project"] = call.project.id
    if call.reason:
        known["reason"] = call.reason
    log.info("call", **known, **call.upstream.as_metadata())
    telemetry.CALL_FIELDS.reset(logging)
    serving.in_flight.end()


def _named(call: Call, context: Context) -> None:
    """Names the call in the trailer `x-request-id`, however it ends."""
    call.trailers["x-request-id"] = call.id
    context.set_trailing_metadata((("x-request-id", call.id),))


async def _failed(
    call: Call,
    context: Context,
    error: Exception | asyncio.CancelledError,
    on_failed: Callable[[Call], None],
) -> NoReturn:
    """Ends the call with the status of an error."""
    if isinstance(error, asyncio.CancelledError):
        call.outcome = "CANCELLED"
        raise error
    if isinstance(error, grpc.aio.AbortError):
        raise error
    told = error if isinstance(error, GatewayError) else unexpected(error)
    await _abort(call, context, told, on_failed)
    raise AssertionError("abort raises")


def unexpected(error: Exception) -> GatewayError:
    """What callers are told of a fault of ours, which the log has."""
    error_id = new_id()
    log.error("unexpected error", error_id=error_id, exc_info=error)
    text = f"The gateway failed inside; report the error id {error_id} to its operator."
    return GatewayError(errors_pb2.ERROR_REASON_INTERNAL, text, metadata={"errorId": error_id})


async def _abort(
    call: Call, context: Context, error: GatewayError, on_failed: Callable[[Call], None]
) -> None:
    call.outcome = code_pb2.Code.Name(error.code)
    call.reason, call.violations = reason_name(error.reason), error.violations
    if error.upstream.attempts:
        call.upstream = error.upstream
    on_failed(call)
    status = rpc_status.to_status(to_status(error, call.id))
    call.trailers.update(error.trailers)
    trailers = [*call.trailers.items(), *status.trailing_metadata]
    if wait_ms := pushback(error, context.time_remaining()):
        trailers.append(("grpc-retry-pushback-ms", wait_ms))
    try:
        # A status waits behind what the caller of a stream has not read. gRPC keeps it for a caller
        # that reads on; we do not.
        async with asyncio.timeout(_STATUS_S if call.messages else None):
            await context.abort(status.code, status.details, tuple(trailers))
    except (grpc.aio.InternalError, TimeoutError):
        # Gone is also who leaves while the status waits.
        raise asyncio.CancelledError from None


async def identified(call: Call, context: Context) -> None:
    """Fills in who calls, then the project, or raises the refusal: who was refused is known all the
    same.

    An operation that the project's cloud does not have is refused here, too, before anything is
    read, counted or recorded for it.
    """
    metadata = _metadata(context)
    principal = await _principal(call.snapshot, context, metadata)
    call.principal, tenant = principal, principal.tenant.id
    call.log_fields["tenant"] = tenant
    named = (tenant, principal.id, *[value for key, value in metadata if key == identity.PROJECT])
    seat = call.snapshot.seats.get(named)
    if seat is None or call.binding.rpc not in seat.allowed:
        call.project = identity.choose_project(principal, call.binding, metadata)
        account = call.snapshot.accounts[call.project.key]
        account.flavor.check(call.binding)
        seat = call.snapshot.seats.setdefault(named, Seat.of(principal, call.project, account))
        seat.allowed.add(call.binding.rpc)
    call.project, call.account = seat.project, seat.account
    call.quota_scope, call.scope = seat.quota_scope, seat.page_scope
    call.hidden = seat.hidden


async def identified_again(call: Call, snapshot: Snapshot, context: Context) -> float:
    """For how many seconds a call that goes on for long may do so by its caller's credential.

    Raises the refusal, if it may not.
    """
    metadata = _metadata(context)
    principal = await _principal(snapshot, context, metadata)
    project = identity.choose_project(principal, call.binding, metadata)
    assert call.principal is not None
    assert call.project is not None
    if (principal.tenant.id, principal.id, project.id) != (
        call.principal.tenant.id,
        call.principal.id,
        call.project.id,
    ):
        raise GatewayError(
            errors_pb2.ERROR_REASON_CREDENTIALS_INVALID,
            "The credential is somebody else's now; call again.",
        )
    return principal.valid_until - time.time()


def _principal(
    snapshot: Snapshot, context: Context, metadata: identity.Metadata
) -> Awaitable[Principal]:
    directory = snapshot.directory
    certificate = (
        next(iter(context.auth_context().get(identity.CERTIFICATE, ())), None)
        if directory.reads_certificates
        else None
    )
    return identity.authenticate(directory, metadata, certificate)


def _metadata(context: Context) -> identity.Metadata:
    return tuple(context.invocation_metadata() or ())
