"""The HTTP server of one process, beside those of gRPC and in the same event loop."""

import asyncio
import contextlib
import logging
import math
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.http.application import Application
from gateway.http.server_certificate import HttpCertificate
from gateway.http.settings import HttpSettings
from gateway.rpc.identity import CERTIFICATE
from gateway.rpc.server import AddressInUse
from gateway.rpc.settings import ServerSettings

_BACKLOG: Final = 256


class _Protocol(H11Protocol):
    """HTTP/1.1 with a bound on the head of a request, which uvicorn's faster parser has not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate is not None:
            pem = ssl.DER_cert_to_PEM_cert(certificate).encode()
            self.app_state: dict[str, Any] = {CERTIFICATE: pem}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the process's, not the server's."""
        yield


class HttpListener:
    """From start to drained. `address` holds the real port once started."""

    def __init__(
        self,
        settings: HttpSettings,
        server: ServerSettings,
        application: Application,
        max_connections: int,
        *,
        shared: bool = False,
    ) -> None:
        assert settings.listen is not None
        self._shared = shared
        self.address = settings.listen
        self.certificate = HttpCertificate(server.tls) if server.tls else None
        self._application = application
        self._serving: asyncio.Task[None] | None = None
        # What it has to say the gateway says itself.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = _Server(
            uvicorn.Config(
                application,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                # `x-forwarded-for` counts as far as the audit log's settings say.
                proxy_headers=False,
                backlog=_BACKLOG,
                limit_concurrency=max_connections,
                timeout_keep_alive=math.ceil(server.limits.keepalive_time_s),
                h11_max_incomplete_event_size=server.limits.max_metadata_bytes,
                ssl_context_factory=self._tls if self.certificate else None,
            )
        )

    async def start(self) -> None:
        """Listens and serves. Raises AddressInUse."""
        listening = _bound(self.address, shared=self._shared)
        self.address = f"{self.address.rpartition(':')[0]}:{listening.getsockname()[1]}"
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise RuntimeError("the HTTP listener ended while it started")
            await asyncio.sleep(0)

    def leave(self) -> None:
        """Has every client told to make its next call elsewhere."""
        self._application.leaving = True

    async def stop(self, grace_s: float) -> None:
        """Takes no more connections, and cuts calls that go on after the grace."""
        if self._serving is None:
            return
        self._server.config.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]
        self._server.should_exit = True
        await asyncio.wait({self._serving})
        state = self._server.server_state
        if state.tasks:
            await asyncio.wait(state.tasks)
        for connection in list(state.connections):
            connection.transport.abort()

    def _tls(self, *_: object) -> ssl.SSLContext:
        assert self.certificate is not None
        return self.certificate.context


def _bound(address: str, *, shared: bool) -> socket.socket:
    """Raises AddressInUse."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, since asyncio sends small parts at once only where it is.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        listening.bind((host.strip("[]"), int(port)))
    except OSError as error:
        listening.close()
        raise AddressInUse(address) from error
    return listening
