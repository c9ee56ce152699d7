"""What the HTTP listener answers: calls by the form of their request, browsers that ask before they
call, and all else with a reason.
"""

import asyncio
import json
from typing import Any, Final

from gateway.background import in_background
from gateway.http import sse
from gateway.http.asgi import START, Message, Receive, Scope, Send, respond
from gateway.http.body import Body
from gateway.http.calls import UNKNOWN, UNKNOWN_STREAM, calls
from gateway.http.context import CALL, HttpContext
from gateway.http.cors import Cors
from gateway.http.openapi import document
from gateway.http.refusals import API, OneForm, absent, malformed, refuse, wrong_head
from gateway.rpc.arrival import Arrivals
from gateway.rpc.dispatch import Routes, ours
from gateway.rpc.pipeline import unexpected

_JSON: Final = "application/json"
_GRPC_WEB: Final = (
    "application/grpc-web",
    "application/grpc-web+json",
    "application/grpc-web+proto",
)
_UNARY: Final = (_JSON, "application/proto", *_GRPC_WEB)
_STREAM: Final = ("application/connect+json", "application/connect+proto", *_GRPC_WEB)
_NOTHING: Final = (
    "There is nothing here: calls are POST /cbrgateway.v1.<Service>/<RPC>, and /openapi.json lists"
    " them."
)
_ENVELOPE: Final = 5
_CLOSE: Final = (b"connection", b"close")


class Application:
    """An ASGI application. `leaving`: clients are told to go elsewhere with their next call."""

    def __init__(self, routes: Routes, arrivals: Arrivals, cors: Cors, head_bytes: int) -> None:
        """`head_bytes`: of the headers of a request."""
        self._routes, self._arrivals, self._cors = routes, arrivals, cors
        self._head_bytes = head_bytes
        most = max(arrivals.most(rpc.binding.max_request_bytes) for rpc in routes.rpcs.values())
        self._calls: Any = calls(routes, most + _ENVELOPE)
        self._document: asyncio.Task[bytes] | None = None
        self.leaving = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = self._cors.headers(scope["headers"])
        if self.leaving:
            headers = (*headers, _CLOSE)
        started = False

        async def sent(message: Message) -> None:
            nonlocal started
            if message["type"] == START:
                started = True
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        try:
            await self._answer(scope, receive, OneForm(sent))
        except Exception as error:
            failed = unexpected(error)
            if started:
                raise
            await refuse(sent, 500, failed)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._head_bytes:
            # The server bounds only what has not arrived whole.
            text = f"The headers have more than {self._head_bytes} bytes; send less."
            await refuse(send, 431, malformed(text))
        elif (path, method) == (API, "GET"):
            await respond(send, 200, await self._described())
        elif path == API:
            await refuse(send, 405, absent("This document is read with GET."), (_allow("GET"),))
        elif not ours(path):
            await refuse(send, 404, absent(_NOTHING))
        elif method == "OPTIONS":
            await respond(send, 204, b"", self._cors.preflight())
        elif method != "POST":
            await refuse(send, 405, absent("Calls are made with POST."), (_allow("POST"),))
        else:
            await self._call(scope, receive, send, path)

    async def _described(self) -> bytes:
        """The OpenAPI document, made when it is first asked for."""
        if self._document is None:
            bindings = [rpc.binding for rpc in self._routes.rpcs.values()]
            self._document = asyncio.create_task(
                in_background(lambda: json.dumps(document(bindings)).encode())
            )
        return await asyncio.shield(self._document)

    async def _call(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        rpc, form = self._routes.rpcs.get(path), _form(scope)
        binding = rpc.binding if rpc is not None else None
        streams = binding is not None and binding.descriptor.server_streaming
        known = (_JSON, *_STREAM) if streams else _UNARY
        if form not in (known if rpc is not None else (*_UNARY, *_STREAM)):
            text = f"The content-type of this call is one of {', '.join(known)}."
            await refuse(send, 415, malformed(text), ((b"accept-post", _JSON.encode()),))
            return
        if wrong := wrong_head(scope["headers"], connect=form not in _GRPC_WEB):
            await refuse(send, 400, malformed(wrong))
            return
        most = self._arrivals.most(binding.max_request_bytes if binding is not None else 0)
        body = Body(receive, most + _ENVELOPE * (form in _STREAM))
        token = CALL.set(HttpContext(scope, binding, body, json=form.endswith("json")))
        try:
            if streams and form == _JSON:
                events = sse.Events(send)
                await self._calls(sse.as_stream(scope), sse.Request(body).receive, events.send)
            elif rpc is None:
                none = UNKNOWN if form in _UNARY else UNKNOWN_STREAM
                await self._calls({**scope, "path": none}, body.receive, send)
            else:
                await self._calls(scope, body.receive, send)
        finally:
            CALL.reset(token)


def _allow(method: str) -> tuple[bytes, bytes]:
    return b"allow", method.encode()


def _form(scope: Scope) -> str:
    """The content-type without its parameters."""
    value: bytes = dict(scope["headers"]).get(b"content-type", b"")
    return value.decode("latin-1").partition(";")[0].strip().lower()
