"""Server-Sent Events: a stream's messages as lines of text that browsers and `curl -N` read.

The stream itself is one of Connect in JSON; here its envelopes become events, one each:

    data: {...}                     a message
    event: end,   data: {...}       it has ended well
    event: error, data: {...}       it has failed; before the first message that is a response of
                                    its own, with the status of its code, as of other calls
"""

import json
import struct
from typing import Final

from gateway.http.asgi import BODY, REQUEST, START, Message, Scope, Send, respond
from gateway.http.body import Body
from gateway.http.codes import STATUS

_HEAD: Final = 5
"""Of an envelope: a byte of flags, and the length."""
_END: Final = 0b10
_CONNECT: Final = b"application/connect+json"
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    # Of nginx, which would keep events back.
    (b"x-accel-buffering", b"no"),
)


def as_stream(scope: Scope) -> Scope:
    """The same request, as one of Connect for a stream."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", _CONNECT)]}


class Request:
    """The body of a request, in the envelope that a stream of Connect has."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._read = False

    async def receive(self) -> Message:
        if self._read:
            return await self._body.receive()
        self._read = True
        data = await self._body.whole()
        content = struct.pack(">BI", 0, len(data)) + data
        return {"type": REQUEST, "body": content, "more_body": False}


class Events:
    """The response: `send` takes what the stream of Connect sends."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == START:
            self._start = message
            return
        flags, data = message["body"][0], message["body"][_HEAD:]
        if not flags & _END:
            await self._write(b"data: " + data + b"\n\n", more=True)
            return
        end = json.loads(data)
        error = end.get("error")
        if self._start is not None and error is not None:
            kept = [h for h in self._start["headers"] if not _of_connect(h[0])]
            kept.append((b"content-type", b"application/json"))
            await respond(self._send, STATUS[error["code"]], json.dumps(error).encode(), kept)
            return
        name, told = ("end", end) if error is None else ("error", error)
        text = f"event: {name}\ndata: {json.dumps(told)}\n\n"
        await self._write(text.encode(), more=False)

    async def _write(self, data: bytes, *, more: bool) -> None:
        if self._start is not None:
            kept = [h for h in self._start["headers"] if not _of_connect(h[0])]
            start, self._start = {**self._start, "headers": [*_HEADERS, *kept]}, None
            await self._send(start)
        await self._send({"type": BODY, "body": data, "more_body": more})


def _of_connect(header: bytes) -> bool:
    return header in {b"content-type", b"connect-content-encoding"}
