"""A small HTTP server in threads of its own, so that it answers while the event loop is busy or
stands still.

The standard library's, for WSGI; it is for a few probes and scrapers, not for the world. Whoever
says nothing for some seconds is cut, and sooner where others need the place (places.py).
"""

import socket
import sys
import threading
from collections.abc import Mapping
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import structlog

from gateway.admin.places import Places
from gateway.rpc.port import AddressInUse

_SILENCE_S: Final = 5.0
_AT_ONCE: Final = 16
_METHODS: Final = frozenset({"GET", "HEAD"})

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Handler(WSGIRequestHandler):
    timeout = _SILENCE_S
    server_version = "cbr-gateway"
    sys_version = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Nothing: probes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.places = Places(_AT_ONCE)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """As the library's, which also looks the machine's name up: that may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the library
        if self.places.take(request, client_address[0]):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as above
        self.places.enter(request)
        super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as above
        self.places.leave(request)
        super().shutdown_request(request)

    def handle_error(self, *_request: object) -> None:
        """Whoever asked has gone, or has said nothing."""
        log.debug("a request to the admin port broke off", cause=repr(sys.exc_info()[1]))


class AdminServer:
    """`address` holds the real port, once made."""

    def __init__(self, address: str, routes: Mapping[str, WSGIApplication]) -> None:
        """Listens. Raises AddressInUse."""
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server(host.strip("[]"), int(port))
        except OSError as error:
            raise AddressInUse(address, error) from error
        self._server.set_app(_routed(routes, self._server.places))
        self.address = f"{host}:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="admin", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits a moment; not on the event loop."""
        if self._thread.ident is not None:
            self._server.shutdown()
        self._server.server_close()


def _routed(routes: Mapping[str, WSGIApplication], places: Places) -> WSGIApplication:
    known = "".join(f"{path}\n" for path in routes)

    def serve(environ: WSGIEnvironment, start: StartResponse) -> Any:  # noqa: ANN401 - as WSGI has it
        if environ["REQUEST_METHOD"] not in _METHODS:
            text = "only GET and HEAD are answered here\n"
            return answer(start, HTTPStatus.METHOD_NOT_ALLOWED, text)
        app = routes.get(environ["PATH_INFO"])
        if app is None:
            return answer(start, HTTPStatus.NOT_FOUND, f"there is nothing here; ask for\n{known}")
        try:
            with places.answering():
                return app(environ, start)
        except Exception:
            log.exception("unexpected error on the admin port", path=environ["PATH_INFO"])
            return answer(start, HTTPStatus.INTERNAL_SERVER_ERROR, "failed; see the log\n")

    return serve


def answer(
    start: StartResponse, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8"
) -> list[bytes]:
    """A whole answer of a WSGI application."""
    body = text.encode()
    head = [
        ("Content-Type", kind),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    start(f"{status.value} {status.phrase}", head)
    return [body]
