"""Running the emulator on a real socket: by itself, or inside a program that has its own event
loop.

The faults that cut connections need the transport of the connection; the protocol classes below
hand it to the application in `scope["state"]`.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import LOGGING_CONFIG
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from emulator.app import build_app
from emulator.emulator import Emulator
from emulator.settings import EmulatorSettings

GRACE_S = 1
"""Seconds open requests get when the program is told to stop."""

EMBEDDED_GRACE_S = 0.2
"""The same for an emulator inside another program: long enough for replies that are under way."""


class TransparentProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """The server's HTTP protocol, showing its transport to the application."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Remember the transport for all requests of this connection."""
        super().connection_made(transport)
        self.app_state: dict[str, Any] = {**self.app_state, "transport": transport}
        # Head and body leave in two writes; without this the second waits 40 ms for the client's
        # acknowledgement.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class EmbeddedServer(uvicorn.Server):
    """A server inside another program: it leaves signals alone, and stops at once when told so."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield

    async def main_loop(self) -> None:
        """Wait for `stop` instead of looking every tenth of a second."""
        await self.stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close listeners, give open requests a moment, cancel the rest, drop connections."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        open_requests = set(self.server_state.tasks)
        if open_requests:
            _, hanging = await asyncio.wait(open_requests, timeout=EMBEDDED_GRACE_S)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        for listener in sockets or []:
            listener.close()


def server_config(
    app: Starlette, *, host: str = "127.0.0.1", port: int = 0, quiet: bool = True
) -> uvicorn.Config:
    """Return what both ways of running share; `quiet`: nothing is logged but errors."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_level="error" if quiet else "info",
        log_config=None if quiet else LOGGING_CONFIG,
        http=TransparentProtocol,
        ws="none",
        lifespan="off",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=60,
    )


@dataclass(frozen=True, slots=True)
class RunningEmulator:
    """A serving emulator. `state` gives tests the same powers as the control API."""

    host: str
    port: int
    app: Starlette
    state: Emulator

    @property
    def base_url(self) -> str:
        """Endpoint for clients, without a slash at the end."""
        return f"http://{self.host}:{self.port}"


@contextlib.asynccontextmanager
async def running_emulator(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    settings: EmulatorSettings | None = None,
    **changes: Any,  # noqa: ANN401 - as the settings have them
) -> AsyncIterator[RunningEmulator]:
    """Serve in the current event loop until the block ends; `changes` are fields of
    EmulatorSettings.

    The socket listens before the block starts. At the end open requests get a moment, then they are
    cancelled.
    """
    app = build_app(replace(settings or EmulatorSettings(), **changes))
    listener = socket.create_server((host, port))
    server = EmbeddedServer(server_config(app))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if serving.done():
                await serving
                raise RuntimeError("the emulator stopped while it was starting")
            await asyncio.sleep(0)
        yield RunningEmulator(host, listener.getsockname()[1], app, app.state.emulator)
    finally:
        server.stop.set()
        await serving


def serve_forever(host: str, port: int, settings: EmulatorSettings) -> None:
    """Serve until SIGINT or SIGTERM."""
    uvicorn.Server(server_config(build_app(settings), host=host, port=port, quiet=False)).run()
