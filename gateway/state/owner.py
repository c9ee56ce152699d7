"""The owner of an embedded store: the one process that has its file, and answers the workers of
this machine on a Unix socket.

It adds no rules of its own: what it answers with is the embedded store, whose jobs that wait
together share one commit, whichever worker they come from.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import msgspec
import structlog

from gateway.frames import Frames
from gateway.state import owner_wire as wire
from gateway.state.errors import StoreDown
from gateway.state.store import Store

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Owner:
    """Answers on every connection, each question by itself."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._links: set[Frames] = set()
        self._answering: set[asyncio.Task[None]] = set()
        self.unasked = asyncio.Event()
        """Set while nobody is connected."""
        self.unasked.set()

    @contextlib.asynccontextmanager
    async def listening(self, listener: socket.socket) -> AsyncIterator[None]:
        """Answers until left, and then to the end what it was asked before."""
        server = await asyncio.get_running_loop().create_unix_server(self._linked, sock=listener)
        try:
            yield
        finally:
            server.close()
            await asyncio.gather(*self._answering, return_exceptions=True)
            for link in self._links:
                link.close()

    def _linked(self) -> Frames:
        link = Frames(self._hear, self._leave)
        self._links.add(link)
        self.unasked.clear()
        return link

    def _leave(self, link: Frames) -> None:
        self._links.discard(link)
        if not self._links:
            self.unasked.set()

    def _hear(self, link: Frames, frame: bytes) -> None:
        task = asyncio.create_task(self._answer(link, wire.decoded_request(frame)))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, link: Frames, request: wire.Request) -> None:
        number = request.number
        try:
            method = wire.METHODS[request.method]
            given = msgspec.structs.astuple(method.arguments(bytes(request.given)))
            ask = getattr(getattr(self._store, method.role), method.name)
            frame = method.answer(number, await ask(*given))
        except StoreDown as down:
            frame = _told(number, wire.DOWN, str(down))
        except Exception:
            log.exception("the owner of the store failed inside", request=request.method)
            frame = _told(number, wire.FAILED, f"the owner of the store failed: {request.method}")
        link.send(frame)


def _told(number: int, kind: int, text: str) -> bytes:
    return wire.encoded(wire.Answer(number, kind, msgspec.Raw(wire.encoded(text))))
