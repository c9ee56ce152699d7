"""The transport on httpx: the reference that always works.

It uses httpx's transports, not its client: redirects, cookies, proxies from the environment and
authentication do not exist at that level, and every host gets a pool of its own, so that a host
that hangs cannot starve another.

httpcore loses a place in its pool for ever when a request is cancelled while it waits for or opens
a connection, or while it tidies up behind an answer (encode/httpcore #1093). So a request waits for
its place outside the pool, then runs in a task of its own that is only cancelled between its first
byte and the end of its answer. One that is given up earlier ends itself when its connection stands,
before its first byte; one that is given up later is over in a moment. `sniffio` must be installed:
without it httpcore repeats a failing import on every request.
"""

import asyncio
import contextlib
import math
import ssl
import time
from collections.abc import AsyncIterable, Callable, Mapping
from typing import Final

import httpx
from msgspec import Struct, field

from gateway.connect_failure import connect_failure
from gateway.upstream.body import ACCEPTED_ENCODING, read_body
from gateway.upstream.http import (
    FIRST_ERROR,
    CalledBack,
    HttpRequest,
    HttpResponse,
    Lost,
    NotSent,
    TooLarge,
    TransportSettings,
    Unanswered,
    always,
    tls_context,
)

_WRITING: Final = "http11.send_request_headers.started"
_TIDYING: Final = "http11.response_closed.started"
_CONNECTING: Final = "connection.connect_tcp.started"


class _GivenUpError(Exception):
    """Ends a request before its first byte: its caller left while the connection was being opened,
    or called it back.
    """


class _VerbatimURL(httpx.URL):
    """An origin with a request target that goes out as it is; httpx would normalise it, and proxies
    rule out httpcore's `target`.
    """

    def __init__(self, origin: httpx.URL, target: str) -> None:
        super().__init__(origin)
        self._target = target.encode()

    @property
    def raw_path(self) -> bytes:
        return self._target


class _Flight(Struct, eq=False):
    """One request on its way: where it is, and what a failure proves.

    `timer` bounds the whole of it, which must be over at `ends_at` (loop time). `connect_s`: for
    name, connection and TLS together, of the `full_s` that a host is given at most.
    """

    may_write: Callable[[], bool]
    timer: asyncio.Timeout
    ends_at: float
    connect_s: float
    full_s: float
    began: float = field(default_factory=time.monotonic)
    connecting: bool = False
    written: bool = False
    tidying: bool = False
    given_up: bool = False

    async def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Called by httpcore at every step; `_WRITING` comes just before the first byte is handed
        to the connection.
        """
        if event == _TIDYING:
            self.tidying = True
        elif event == _CONNECTING:
            self.connecting, self.began = True, time.monotonic()
            self._reschedule(min(self.ends_at, asyncio.get_running_loop().time() + self.connect_s))
        elif event == _WRITING and getattr(info["request"], "method", b"") != b"CONNECT":
            # CONNECT goes to the proxy; our request is still unwritten then.
            self.connecting = False
            self._reschedule(self.ends_at)
            if self.given_up or not self.may_write():
                raise _GivenUpError
            self.written = True

    def give_up(self, task: asyncio.Task[HttpResponse]) -> None:
        """Ends the request as soon as that costs no place in the pool."""
        self.given_up = True
        if self.written and not self.tidying:
            task.cancel()

    def ran_out(self) -> Unanswered:
        """What it proves that the time is up."""
        spent_s = time.monotonic() - self.began
        if self.written:
            return Lost("no complete answer came (time ran out)", given_s=spent_s)
        return NotSent.out_of_time(
            spent_s, self.connect_s if self.connecting else math.inf, self.full_s
        )

    def failed(self, error: BaseException) -> Unanswered:
        """What an exception of httpx proves."""
        kind = type(error).__name__
        if self.written:
            return Lost(f"no complete answer came ({kind})")
        return NotSent(f"no connection was made ({kind})", connect=connect_failure(error))

    def _reschedule(self, moment: float) -> None:
        with contextlib.suppress(RuntimeError):  # the time is up already, or nobody waits any more
            self.timer.reschedule(moment)


class _Host(Struct, eq=False):
    """One host's pool and the places in it."""

    url: httpx.URL
    pool: httpx.AsyncHTTPTransport
    places: asyncio.Semaphore
    flights: set[asyncio.Task[HttpResponse]] = field(default_factory=set)

    def start(self, request: httpx.Request, flight: _Flight) -> asyncio.Task[HttpResponse]:
        """Runs the request in its own task, which gives the place back whatever happens."""
        task = asyncio.create_task(_exchange(self.pool, request, flight))
        self.flights.add(task)
        task.add_done_callback(self._landed)
        return task

    async def leave(self) -> None:
        """Closes the pool once its requests are over; cancelled, these end, too."""
        try:
            await asyncio.gather(*self.flights, return_exceptions=True)
        finally:
            await self.pool.aclose()

    def _landed(self, task: asyncio.Task[HttpResponse]) -> None:
        self.flights.discard(task)
        self.places.release()
        if not task.cancelled():
            task.exception()  # seen here, for nobody else looks at a request that was given up


class HttpxTransport:
    """See the module. One instance serves all hosts."""

    def __init__(self, settings: TransportSettings) -> None:
        self.connect_timeout_s = settings.connect_timeout_s
        self._settings = settings
        self._tls = tls_context(settings.ca_file)
        self._hosts: dict[str, _Host] = {}
        self._leaving: set[asyncio.Task[None]] = set()

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
        host = self._hosts.get(origin) or self._open(origin)
        ends_at = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await host.places.acquire()
        except TimeoutError as error:
            raise NotSent("no connection became free in time", given_s=0) from error
        left_s = max(ends_at - time.monotonic(), 0.001)
        timer = asyncio.timeout(left_s)
        full_s = self.connect_timeout_s
        allowed_s = full_s if connect_s is None else min(connect_s, full_s)
        flight = _Flight(
            may_write, timer, asyncio.get_running_loop().time() + left_s, allowed_s, full_s
        )
        task = host.start(_outgoing(request, host.url, target, left_s, flight), flight)
        try:
            async with timer:
                return await asyncio.shield(task)
        except TimeoutError as error:
            flight.give_up(task)
            raise flight.ran_out() from error
        except asyncio.CancelledError:
            flight.give_up(task)
            raise

    def trust(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        for host in self._hosts.values():
            leaving = asyncio.create_task(host.leave())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        self._hosts.clear()

    async def aclose(self) -> None:
        for leaving in tuple(self._leaving):
            leaving.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        for host in self._hosts.values():
            for task in host.flights:
                task.cancel()
            await asyncio.gather(*host.flights, return_exceptions=True)
            await host.pool.aclose()
        self._hosts.clear()

    def _open(self, origin: str) -> _Host:
        limit = self._settings.max_connections
        limits = httpx.Limits(
            max_connections=limit,
            max_keepalive_connections=limit,
            keepalive_expiry=self._settings.keepalive_s,
        )
        pool = httpx.AsyncHTTPTransport(
            verify=self._tls,
            trust_env=False,
            http2=False,
            limits=limits,
            proxy=self._settings.proxy,
            retries=0,
        )
        host = _Host(httpx.URL(origin), pool, asyncio.Semaphore(limit))
        self._hosts[origin] = host
        return host


def _outgoing(
    request: HttpRequest, url: httpx.URL, target: str, timeout_s: float, flight: _Flight
) -> httpx.Request:
    headers = [(name.encode(), value.encode()) for name, value in request.headers.items()]
    headers.append((b"Accept-Encoding", ACCEPTED_ENCODING.encode()))
    # The connect timeout ends what was given up early.
    extensions = {
        "trace": flight.trace,
        "timeout": {"connect": min(timeout_s, flight.connect_s), "pool": timeout_s},
    }
    outgoing = httpx.Request(
        request.method, url, headers=headers, content=request.body or None, extensions=extensions
    )
    outgoing.url = _VerbatimURL(url, target)
    return outgoing


async def _exchange(
    pool: httpx.AsyncHTTPTransport, request: httpx.Request, flight: _Flight
) -> HttpResponse:
    try:
        response = await pool.handle_async_request(request)
        try:
            headers = {
                name.lower().decode("latin-1"): value.decode("latin-1")
                for name, value in response.headers.raw
            }
            assert isinstance(response.stream, AsyncIterable)
            try:
                body = await read_body(response.stream, headers.get("content-encoding", ""))
            except TooLarge:
                if response.status_code < FIRST_ERROR:
                    raise
                body = b""
        finally:
            await response.aclose()
    except _GivenUpError as error:
        raise CalledBack from error
    except httpx.TransportError as error:
        raise (
            flight.ran_out() if isinstance(error, httpx.TimeoutException) else flight.failed(error)
        ) from error
    return HttpResponse(response.status_code, headers, body)
