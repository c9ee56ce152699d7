"""From the descriptors to what answers calls, for every transport, and to gRPC's handlers.

Every RPC that is not custom is served by the same `forward`.

Requests are read, as bytes, and parsed inside the pipeline: then a broken message, too, gets a
proper error, and nothing is read for a caller nobody knows.
"""

import difflib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import grpc
import structlog
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2
from grpc_status import rpc_status
from msgspec import Struct

from gateway.errors import GatewayError
from gateway.ids import new_id
from gateway.reasons import reason_name
from gateway.rpc.audited import unknown_rpc
from gateway.rpc.call import Call, Handler
from gateway.rpc.context import Context
from gateway.rpc.pipeline import Serve, Serving, identified_again, served
from gateway.rpc.status import to_status
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding

PACKAGE: Final = "cbrgateway.v1"
_MAX_NAME: Final = 80
"""Of an RPC that does not exist: what is logged of its name, and up to where a name is compared
with ours.
"""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Stream(Struct, frozen=True):
    """The answering side of a stream.

    `write` sends one encoded message, and waits while the caller does not read.

    `recheck` identifies the caller anew, by the configuration of that moment: it answers for how
    many seconds the caller's credential is still valid, and raises GatewayError when the caller is
    not the same any more or may not call the RPC.
    """

    write: Callable[[bytes], Awaitable[None]]
    recheck: Callable[[], Awaitable[float]]


StreamHandler = Callable[[Call, Message, Stream], Awaitable[None]]
"""Carries out one RPC that answers a stream; the stream ends with it."""


class Custom(Struct, frozen=True):
    """The handlers that are written by hand, by RPC."""

    unary: Mapping[str, Handler]
    streams: Mapping[str, StreamHandler]


class Rpc(Struct, frozen=True):
    """One RPC as every transport calls it."""

    binding: Binding
    serve: Serve


class Routes(Struct, frozen=True):
    """What answers calls, whichever transport brings them. `rpcs`: by path,
    `/cbrgateway.v1.VaultService/GetVault`. `unknown`: any other path below our package.
    """

    rpcs: Mapping[str, Rpc]
    unknown: "Unknown"

    def asked_by(self, request: Message) -> Rpc:
        """The RPC whose request it is."""
        return next(
            each for each in self.rpcs.values() if each.binding.request_type is type(request)
        )


def routes(catalog: Catalog, serving: Serving, forward: Handler, custom: Custom) -> Routes:
    rpcs = {}
    for binding in catalog:
        if binding.descriptor.server_streaming:
            serve = served(binding, serving, custom.streams[binding.rpc], _opened(serving))
        else:
            serve = served(binding, serving, custom.unary.get(binding.rpc, forward))
        rpcs[f"/{PACKAGE}.{binding.rpc}"] = Rpc(binding, serve)
    return Routes(rpcs, Unknown(catalog, serving))


def grpc_handlers(routes: Routes) -> list[grpc.GenericRpcHandler]:
    """One handler for all RPCs, and one for every name below our package that does not exist."""
    methods: dict[str, Any] = {}
    for name, rpc in routes.rpcs.items():
        kind = (
            grpc.stream_stream_rpc_method_handler
            if rpc.binding.descriptor.server_streaming
            else grpc.stream_unary_rpc_method_handler
        )
        methods[name] = kind(rpc.serve, request_deserializer=None, response_serializer=None)
    return [_Known(methods), _Unknown(routes.unknown)]


def _opened(serving: Serving) -> Callable[[Call, Context], Stream]:
    def opened(call: Call, context: Context) -> Stream:
        return Stream(
            _counted(call, context),
            lambda: identified_again(call, serving.current.snapshot, context),
        )

    return opened


def _counted(call: Call, context: Context) -> Callable[[bytes], Awaitable[None]]:
    """Opens the stream, as far as the call's records go; how each message is written."""
    call.messages = 0
    call.moved()

    async def write(data: bytes) -> None:
        await context.write(data)
        assert call.messages is not None
        call.messages += 1
        call.moved()

    return write


class _Known(grpc.GenericRpcHandler):
    """All RPCs in one table.

    Of a handler for each service, grpc would ask one after the other at every call.
    """

    def __init__(self, methods: Mapping[str, Any]) -> None:
        self._methods = methods

    def service(self, details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401 - grpc's own type is unusable for aio
        return self._methods.get(details.method)


class _Unknown(grpc.GenericRpcHandler):
    """Answers UNIMPLEMENTED with a hint, where gRPC would say nothing more than the code."""

    def __init__(self, unknown: "Unknown") -> None:
        self._unknown = unknown

    def service(self, details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401 - grpc's own type is unusable for aio
        path = details.method
        if not ours(path):
            return None

        async def refuse(_requests: object, context: Context) -> bytes:
            await self._unknown.refuse(path, context)
            raise AssertionError("abort raises")

        return grpc.stream_unary_rpc_method_handler(
            refuse, request_deserializer=None, response_serializer=None
        )


def ours(path: str) -> bool:
    """Whether a path names an RPC below our package, which may not exist."""
    return path.startswith(f"/{PACKAGE}.") and path.count(f"{PACKAGE}.") == 1


class Unknown:
    """Refuses calls of RPCs that do not exist."""

    def __init__(self, catalog: Catalog, serving: Serving) -> None:
        self._serving = serving
        self._anywhere: Mapping[str, str] = {_lower(rpc)[1]: rpc for rpc in catalog.bindings}
        self._services: dict[str, dict[str, str]] = {}
        for rpc in catalog.bindings:
            service, method = _lower(rpc)
            self._services.setdefault(service, {})[method] = rpc

    async def refuse(self, path: str, context: Context) -> None:
        """Aborts the call of a path that is `ours`."""
        rpc = path.removeprefix(f"/{PACKAGE}.")
        call_id = new_id()
        error = GatewayError(
            errors_pb2.ERROR_REASON_UNIMPLEMENTED, f"There is no such RPC; {self._hint(rpc)}"
        )
        log.info(
            "call",
            request_id=call_id,
            rpc=rpc[:_MAX_NAME],
            code=code_pb2.Code.Name(error.code),
            reason=reason_name(error.reason),
        )
        self._serving.meter.unknown_rpc(
            code_pb2.Code.Name(error.code), reason_name(error.reason), context
        )
        unknown_rpc(self._serving.recorder, rpc[:_MAX_NAME], call_id, context)
        status = rpc_status.to_status(to_status(error, call_id))
        await context.abort(
            status.code, status.details, (("x-request-id", call_id), *status.trailing_metadata)
        )

    def _hint(self, rpc: str) -> str:
        # Nobody knows the caller yet, and comparing takes time: for short names, and with those of
        # the same service only.
        service, method = _lower(rpc)
        known = self._services.get(service, {})
        close = difflib.get_close_matches(method, known, n=1) if len(rpc) <= _MAX_NAME else []
        meant = known[close[0]] if close else self._anywhere.get(method)
        return (
            f"did you mean {meant}?"
            if meant
            else "list the services with server reflection, or see the documentation."
        )


def _lower(rpc: str) -> tuple[str, str]:
    service, _, method = rpc.lower().partition("/")
    return service, method
