"""The HTTP server of one process, beside those of gRPC and in the same event loop."""

import asyncio
import contextlib
import logging
import math
import socket
import ssl
import sys
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import h11
import uvicorn
from cbrgateway.v1 import errors_pb2
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.errors import GatewayError
from gateway.http.application import Application
from gateway.http.asgi import JSON, Receive, Scope, Send
from gateway.http.refusals import content, malformed, refuse
from gateway.http.server_certificate import HttpCertificate
from gateway.http.settings import HttpSettings
from gateway.rpc.identity import CERTIFICATE
from gateway.rpc.port import AddressInUse
from gateway.rpc.settings import ServerSettings

_BACKLOG: Final = 256


class _Protocol(H11Protocol):
    """HTTP/1.1 with a bound on the head of a request, which uvicorn's faster parser has not, and
    with refusals in our form.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most, self.limit_concurrency = self.limit_concurrency, None
        if most is not None and len(self.connections) > most:
            self.app = _full
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate is not None:
            pem = ssl.DER_cert_to_PEM_cert(certificate).encode()
            self.app_state: dict[str, Any] = {CERTIFICATE: pem}

    def send_400_response(self, msg: str) -> None:
        """To what is no request; called where that was found."""
        found = sys.exception()
        status = getattr(found, "error_status_hint", 400)
        error = malformed(
            f"The head of the request has more than {self.config.h11_max_incomplete_event_size}"
            " bytes; send less."
            if status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            else f"This is no request of HTTP/1.1 ({found or msg}). gRPC has a port of its own."
        )
        told = content(error)
        length = (b"content-length", str(len(told)).encode())
        head = h11.Response(
            status_code=status,
            headers=[JSON, length, (b"connection", b"close")],
            reason=HTTPStatus(status).phrase.encode(),
        )
        for event in (head, h11.Data(data=told), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


async def _full(_: Scope, __: Receive, send: Send) -> None:
    """The application of a connection that there is no room for."""
    error = GatewayError(
        errors_pb2.ERROR_REASON_OVERLOADED,
        "The gateway has as many connections as it takes. Call again a little later.",
    )
    await refuse(send, 503, error, ((b"connection", b"close"), (b"retry-after", b"1")))


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
        raise AddressInUse(address, error) from error
    return listening
