"""A call that came over HTTP, as its way through the gateway sees it."""

import asyncio
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.request import RequestContext
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from gateway.errors import GatewayError, field_invalid
from gateway.http.asgi import Scope
from gateway.http.body import Body
from gateway.http.errors import connect_error, deadline_passed
from gateway.http.hand_over import HandOver
from gateway.http.json_form import from_json, to_json
from gateway.rpc.context import Metadata
from gateway.rpc.identity import CERTIFICATE
from gateway.rpc.pipeline import Serve
from gateway.upstream.declaration import Binding

Told = RequestContext[Any, Any]
"""What the library knows of a call: deadline, and headers and trailers of the response."""

_DETAILS: Final = "grpc-status-details-bin"
"""The trailer in which a google.rpc.Status travels."""
_CALL_ID: Final = "x-request-id"
_GONE: Final = frozenset({Code.CANCELED, Code.DEADLINE_EXCEEDED})
_BY_HAND: Final = "without a library for the protocol, send JSON with content-type application/json"


class HttpContext:
    """One call, as a `gateway.rpc.context.Context`. `binding`: None for an RPC that does not exist.
    `json`: its messages are JSON.

    It goes its way in a task of its own, begun before its request is read. The library that reads
    it brings the request, and takes the answer, or each message of it.
    """

    def __init__(self, scope: Scope, binding: Binding | None, body: Body, *, json: bool) -> None:
        loop = asyncio.get_running_loop()
        self._scope, self._binding, self._body, self._json = scope, binding, body, json
        self._wanted: asyncio.Future[None] = loop.create_future()
        self._request: asyncio.Future[bytes] = loop.create_future()
        self._out = HandOver()
        self._told: Told
        self._call: asyncio.Task[bytes | None]
        self._refusal: status_pb2.Status | None = None

    @property
    def path(self) -> str:
        path: str = self._scope["path"]
        return path

    # What the library does
    # ----------------------------------------------------------------------------------------------

    async def begin(self, serve: Serve, told: Told) -> None:
        """Until the request is wanted. Raises ConnectError where the call ends before."""
        self._told = told
        self._call = asyncio.create_task(serve(None, self))
        self._call.add_done_callback(lambda _: self._body.cut())
        self._out.ends_with(self._call)
        first: set[asyncio.Future[Any]] = {self._call, self._wanted}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._left()
            raise
        if not self._wanted.done():
            await self.answer()

    async def end(self, error: Exception | None) -> None:
        """Where the call has not ended by itself, it is told why it must. Raises the ConnectError
        that its caller is to see.
        """
        if not self._call.done():
            gone = isinstance(error, ConnectError) and error.code in _GONE
            if error is None or gone or self._request.done():
                await self._left()
            else:
                text = error.message if isinstance(error, ConnectError) else "it cannot be read"
                self._fail(field_invalid("", f"{text}; {_BY_HAND}", "encoding"))
        if error is None:
            return
        await asyncio.wait({self._call})
        if not self._call.cancelled():
            await self.answer()
        elif isinstance(error, ConnectError) and error.code is Code.DEADLINE_EXCEEDED:
            raise deadline_passed(self._binding, self._asked())

    def give(self, request: bytes) -> None:
        """The request has arrived."""
        if self._body.problem is not None:
            self._fail(self._body.problem)
        elif not self._request.done():
            self._request.set_result(request)

    async def answer(self) -> bytes:
        """Of a unary call, as its caller wants it. Raises ConnectError."""
        # Not awaited itself, so that a deadline ends the call only where `end` knows of it.
        await asyncio.wait({self._call})
        try:
            answer = self._call.result()
        except grpc.aio.AbortError:
            assert self._refusal is not None
            raise connect_error(self._refusal) from None
        return self._encoded(answer) if answer is not None else b""

    async def messages(self) -> AsyncIterator[bytes]:
        """Of a stream. Raises ConnectError."""
        async for message in self._out.messages():
            yield message
        await self.answer()

    # What the way of a call asks
    # ----------------------------------------------------------------------------------------------

    def peer(self) -> str:
        host, port = self._scope["client"] or ("", 0)
        return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"

    def invocation_metadata(self) -> Metadata:
        headers: Sequence[tuple[bytes, bytes]] = self._scope["headers"]
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        certificate = self._scope["state"].get(CERTIFICATE)
        return {CERTIFICATE: [certificate]} if certificate else {}

    def time_remaining(self) -> float | None:
        left_ms = self._told.timeout_ms
        return None if left_ms is None else left_ms / 1000

    async def read(self) -> bytes:
        self._wanted.set_result(None)
        data = await self._request
        if not self._json or self._binding is None:
            return data
        return from_json(data, self._binding.request_type).SerializeToString()

    async def write(self, message: bytes) -> None:
        await self._out.put(self._encoded(message))

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        for name, value in trailing_metadata:
            if isinstance(value, str):
                self._told.response_trailers[name] = value
                if name == _CALL_ID:
                    self._told.response_headers[name] = value

    async def abort(
        self, code: grpc.StatusCode, details: str, trailing_metadata: Metadata
    ) -> object:
        self.set_trailing_metadata(trailing_metadata)
        packed = dict(trailing_metadata)[_DETAILS]
        assert isinstance(packed, bytes)
        self._refusal = status_pb2.Status.FromString(packed)
        if (wait_s := _retry_s(self._refusal)) is not None:
            self._told.response_headers["retry-after"] = str(wait_s)
        raise grpc.aio.AbortError(f"{code.name}: {details}")

    # ----------------------------------------------------------------------------------------------

    async def _left(self) -> None:
        self._call.cancel()
        await asyncio.wait({self._call})

    def _asked(self) -> Message | None:
        """The request, as far as it has arrived and can be read."""
        known = self._request.done() and not self._request.cancelled()
        if self._binding is None or not known or self._request.exception() is not None:
            return None
        kind = self._binding.request_type
        try:
            data = self._request.result()
            return from_json(data, kind) if self._json else kind.FromString(data)
        except (GatewayError, DecodeError):
            return None

    def _fail(self, problem: GatewayError) -> None:
        if not self._request.done():
            self._request.set_exception(self._body.problem or problem)

    def _encoded(self, message: bytes) -> bytes:
        if not self._json or self._binding is None:
            return message
        return to_json(self._binding.response_type.FromString(message))


CALL: ContextVar[HttpContext] = ContextVar("http_call")
"""The one that is being answered in this task."""


def _retry_s(status: status_pb2.Status) -> int | None:
    for each in status.details:
        if each.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            info = error_details_pb2.RetryInfo.FromString(each.value)
            nanos: int = info.retry_delay.ToNanoseconds()
            return math.ceil(nanos / 1e9)
    return None
