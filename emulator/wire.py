"""How replies leave: whole, in drips, cut short, or not at all."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import Send


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response ready to be sent."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Wire:
    """The way back to one client.

    Without a transport (in-process ASGI) a cut raises ConnectionResetError instead.
    """

    def __init__(self, send: Send, transport: asyncio.Transport | None) -> None:
        self._send = send
        self._transport = transport

    async def send(self, reply: Reply) -> None:
        """Send the reply as it is."""
        await self._start(reply)
        await self._body(reply.body, more=False)

    async def drip(self, reply: Reply, chunk_bytes: int, pause_s: float) -> None:
        """Send the body in small pieces with a pause before each."""
        await self._start(reply)
        for start in range(0, len(reply.body), chunk_bytes):
            await asyncio.sleep(pause_s)
            await self._body(reply.body[start : start + chunk_bytes], more=True)
        await self._body(b"", more=False)

    async def truncate(self, reply: Reply) -> None:
        """Announce the whole body, send half of it, close."""
        await self._start(reply)
        await self._body(reply.body[: len(reply.body) // 2], more=True)
        if self._transport is None:
            raise ConnectionResetError("truncated on purpose")
        self._transport.close()
        await self._until_lost()

    async def cut(self) -> None:
        """Close the connection without an answer."""
        if self._transport is None:
            raise ConnectionResetError("cut on purpose")
        self._transport.abort()
        await self._until_lost()

    async def _start(self, reply: Reply) -> None:
        headers = list(reply.headers)
        if reply.status != HTTPStatus.NO_CONTENT:
            headers.append((b"content-length", str(len(reply.body)).encode()))
        await self._send(
            {"type": "http.response.start", "status": reply.status, "headers": headers}
        )

    async def _body(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    @staticmethod
    async def _until_lost() -> None:
        # The server hears of the closed connection on a later turn of the loop; returning earlier
        # would make it complain about a missing answer.
        for _ in range(3):
            await asyncio.sleep(0)
