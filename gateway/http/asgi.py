"""The few words of ASGI, the interface between HTTP servers and applications in Python."""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

START, BODY, REQUEST = "http.response.start", "http.response.body", "http.request"
JSON = (b"content-type", b"application/json")


async def respond(send: Send, status: int, content: bytes, headers: Headers = (JSON,)) -> None:
    """One whole response."""
    length = (b"content-length", str(len(content)).encode())
    await send({"type": START, "status": status, "headers": [*headers, length]})
    await send({"type": BODY, "body": content})
