"""The fast transport: asyncio's protocols around llhttp, the parser of Node.js; extra `fast`.

It does what the seam asks for and nothing else, so there is nothing to switch off: a request is
written once, on one connection, and the connection is closed unless the whole answer was read and
nothing more. What was sent is known exactly: until `Connection.ask` is called, not one byte of the
request has left. It knows no proxies; `http_httpx` does.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Final

from aiohappyeyeballs import start_connection

from gateway.connect_failure import connect_failure
from gateway.upstream.body import ACCEPTED_ENCODING
from gateway.upstream.connection import Connection
from gateway.upstream.http import (
    CalledBack,
    HttpRequest,
    HttpResponse,
    Lost,
    NotSent,
    TransportSettings,
    always,
    tls_context,
)

_NEXT_ADDRESS_S: Final = 0.25
"""After which a host's next address is tried beside the one that does not answer (RFC 8305)."""
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class HttptoolsTransport:
    """See the module. Must be built where an event loop runs."""

    def __init__(self, settings: TransportSettings) -> None:
        self.connect_timeout_s = settings.connect_timeout_s
        self._settings = settings
        self._tls = tls_context(settings.ca_file)
        self._loop = asyncio.get_running_loop()
        self._hosts: dict[str, _Host] = {}
        self._closed = False

    async def send(
        self,
        request: HttpRequest,
        timeout_s: float,
        may_write: Callable[[], bool] = always,
        *,
        connect_s: float | None = None,
    ) -> HttpResponse:
        origin, target = request.split_url()
        request.check_headers()
        if self._closed:
            raise NotSent("the transport was closed")
        host = self._hosts.get(origin)
        if host is None:
            host = self._hosts[origin] = _Host(origin, self._settings, self._tls, self._loop)
        written = _written(request, target, host.netloc)
        began = self._loop.time()
        ends_at = began + timeout_s
        if host.places.locked():
            await host.wait_for_place(ends_at)
            began = self._loop.time()
        else:
            await host.places.acquire()
        try:
            connection = host.idle() or await host.connect(
                ends_at, self.connect_timeout_s if connect_s is None else connect_s
            )
            if not may_write():
                host.keep(connection)
                raise CalledBack
            response = await connection.ask(written, began, ends_at)
            host.keep(connection)
            return response
        finally:
            host.places.release()

    def trust(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        for host in self._hosts.values():
            host.trust(tls)

    async def aclose(self) -> None:
        self._closed = True
        for host in self._hosts.values():
            host.close()


class _Host:
    """One origin: its connections, and places for as many requests as there may be connections.

    The connection used last is used next.
    """

    def __init__(
        self,
        origin: str,
        settings: TransportSettings,
        tls: ssl.SSLContext,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        scheme, _, self.netloc = origin.partition("://")
        name, _, port = (
            self.netloc.rpartition(":")
            if self.netloc[-1] != "]" and ":" in self.netloc
            else (self.netloc, "", "")
        )
        self._name = name.strip("[]")
        self._port = int(port or (443 if scheme == "https" else 80))
        self._tls = tls if scheme == "https" else None
        self._settings = settings
        self._loop = loop
        self.places = asyncio.Semaphore(settings.max_connections)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._closed = False

    def trust(self, tls: ssl.SSLContext) -> None:
        self._tls = tls if self._tls else None

    async def wait_for_place(self, ends_at: float) -> None:
        try:
            async with asyncio.timeout_at(ends_at):
                await self.places.acquire()
        except TimeoutError as error:
            raise NotSent("no connection became free in time", given_s=0) from error

    def idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    def keep(self, connection: Connection) -> None:
        """For the next request, if there can be one."""
        if connection.usable:
            connection.rest(self._loop.time() + self._settings.keepalive_s)
            self._idle.append(connection)
        else:
            connection.close()

    async def connect(self, ends_at: float, allowed_s: float) -> Connection:
        """A new connection, which is there within `allowed_s`. Raises NotSent."""
        began, full_s = self._loop.time(), self._settings.connect_timeout_s
        allowed_s = min(allowed_s, full_s)
        try:
            async with asyncio.timeout_at(min(ends_at, began + allowed_s)) as timer:
                connection = await self._connected()
        except (OSError, UnicodeError) as error:
            if timer.expired():
                raise NotSent.out_of_time(self._loop.time() - began, allowed_s, full_s) from error
            raise NotSent(
                f"no connection was made ({type(error).__name__})", connect=connect_failure(error)
            ) from error
        if self._closed or not connection.usable:
            connection.close()
            raise NotSent("the connection was closed before the request was written")
        self._open.add(connection)
        return connection

    async def _connected(self) -> Connection:
        sock = await start_connection(
            await self._loop.getaddrinfo(self._name, self._port, type=socket.SOCK_STREAM),
            happy_eyeballs_delay=_NEXT_ADDRESS_S,
            loop=self._loop,
        )
        name = self._name if self._tls else None
        # From here on the socket is the loop's to close, whatever happens: closed here, its number
        # could be another's while the loop still has it.
        _, connection = await self._loop.create_connection(
            lambda: Connection(self._loop, self._gone),
            sock=sock,
            ssl=self._tls,
            server_hostname=name,
        )
        return connection

    def _gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def close(self) -> None:
        """Gives up what is under way.

        What is still connecting ends by itself, and sends nothing.
        """
        self._closed = True
        for connection in self._open:
            connection.fail(Lost("no complete answer came (the transport was closed)"))


def _written(request: HttpRequest, target: str, netloc: str) -> bytes:
    """The bytes of a request: what it says, and the framing."""
    lines = [f"{request.method} {target} HTTP/1.1\r\n"]
    if "host" not in map(str.lower, request.headers):
        lines.append(f"Host: {netloc}\r\n")
    lines += [f"{name}: {value}\r\n" for name, value in request.headers.items()]
    if request.body or request.method in _WITH_BODY:
        lines.append(f"Content-Length: {len(request.body)}\r\n")
    lines.append(f"Accept-Encoding: {ACCEPTED_ENCODING}\r\n\r\n")
    return "".join(lines).encode() + request.body
