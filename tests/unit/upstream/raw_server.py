"""An HTTP server of raw bytes: it shows exactly what arrived and answers with exactly what a test
says.
"""

import asyncio
import contextlib
import itertools
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Connection:
    """One accepted connection, as a script sees it."""

    server: "RawServer"
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> bytes | None:
        """The next request's bytes, head and body; None when the client closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        lengths = [
            line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
        ]
        body = await self.reader.readexactly(int(lengths[0])) if lengths else b""
        self.server.requests.append(head + body)
        self.server.arrived.set()
        return head + body

    async def send(self, content: bytes) -> None:
        self.writer.write(content)
        await self.writer.drain()

    async def until_closed(self) -> None:
        """Returns once the client closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass
        self.server.seen_closed.set()

    def reset(self) -> None:
        """Ends the connection by RST in place of FIN."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()

    async def drip(self, byte: bytes, every_s: float) -> None:
        while not self.writer.is_closing():
            await self.send(byte)
            await asyncio.sleep(every_s)


Script = Callable[[Connection], Awaitable[None]]


@dataclass
class RawServer:
    script: Script
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    seen_closed: asyncio.Event = field(default_factory=asyncio.Event)
    open_now: int = 0
    open_most: int = 0

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            await self.script(Connection(self, reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


@asynccontextmanager
async def raw_server(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    server = RawServer(script)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(server.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(body: bytes = b"{}", status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


def always(content: bytes) -> Script:
    """Answers every request on a kept-alive connection with the same bytes."""

    async def script(connection: Connection) -> None:
        while await connection.request() is not None:
            await connection.send(content)

    return script


async def all_closed(server: RawServer) -> None:
    """Returns once the server has no connection any more."""
    async with asyncio.timeout(60):
        while server.open_now:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.01)


async def cancelled_everywhere(call: Callable[[], Awaitable[object]]) -> None:
    """Makes the call again and again, and cancels it one turn of the event loop later each time,
    until it ends by itself.
    """
    for turns in itertools.count():
        task = asyncio.ensure_future(call())
        for _ in range(turns):
            await asyncio.sleep(0)
        # Every other time with a pause, in which sockets have something to tell.
        if turns % 2:
            await asyncio.sleep(0.0005 * turns)
        if task.done():
            await task
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
