"""Every RPC as the library for Connect and gRPC-Web calls it.

The library has the protocols: envelopes, trailers, deadlines, callers who leave. What a message
says is read and written on the way of the call, so here messages are the bytes that travel.
"""

from collections.abc import AsyncIterator
from typing import Any

from connectrpc.interceptor import MetadataInterceptor
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint

from gateway.http.context import CALL, Told
from gateway.rpc.context import Context
from gateway.rpc.dispatch import Routes
from gateway.rpc.pipeline import Serve

UNKNOWN, UNKNOWN_STREAM = "/unknown", "/unknown-stream"
"""Where calls of RPCs that do not exist are answered."""


def calls(routes: Routes, most: int) -> ConnectASGIApplication[Any]:
    """`most`: bytes of a request."""
    streams = {path: rpc.binding.descriptor.server_streaming for path, rpc in routes.rpcs.items()}
    endpoints: dict[str, Any] = {
        path: Endpoint.server_stream(_method(path, StreamType.SERVER_STREAM), _stream)
        if is_stream
        else Endpoint.unary(_method(path, StreamType.UNARY), _answer)
        for path, is_stream in {**streams, UNKNOWN: False, UNKNOWN_STREAM: True}.items()
    }
    return _Application(
        service=None,
        endpoints=lambda _: endpoints,
        interceptors=(_Way(routes),),
        read_max_bytes=most,
        # A small message may become a very large one; for answers a proxy in front can do it.
        compressions=(),
        codecs=(_AsIs("json"), _AsIs("proto")),
    )


async def _answer(request: bytes, _told: Told) -> bytes:
    call = CALL.get()
    call.give(request)
    return await call.answer()


async def _stream(request: bytes, _told: Told) -> AsyncIterator[bytes]:
    call = CALL.get()
    call.give(request)
    async for message in call.messages():
        yield message


class _Way(MetadataInterceptor[None]):
    """Has a call begin its way before the library reads its request, as gRPC's do."""

    def __init__(self, routes: Routes) -> None:
        self._serve = {path: rpc.serve for path, rpc in routes.rpcs.items()}
        self._unknown = _unknown(routes)

    async def on_start(self, ctx: Told) -> None:
        call = CALL.get()
        await call.begin(self._serve.get(call.path, self._unknown), ctx)

    async def on_end(self, _token: None, _told: Told, error: Exception | None, /) -> None:
        await CALL.get().end(error)


class _Application(ConnectASGIApplication[Any]):
    @property
    def path(self) -> str:
        return ""


class _AsIs:
    """A codec that leaves messages as they travel."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name

    def encode(self, message: bytes) -> bytes:
        return message

    def decode(self, data: bytes | bytearray, _kind: type) -> bytes:
        return bytes(data)


def _method(path: str, kind: StreamType) -> MethodInfo[Any, Any]:
    service, _, name = path.removeprefix("/").rpartition("/")
    return MethodInfo(
        name=name,
        service_name=service,
        input=bytes,
        output=bytes,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=kind,
    )


def _unknown(routes: Routes) -> Serve:
    async def serve(_requests: object, context: Context) -> bytes:
        await routes.unknown.refuse(CALL.get().path, context)
        raise AssertionError("abort raises")

    return serve
