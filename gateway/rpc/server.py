"""The servers of one process: gRPC's services on one port, health on another, and what else takes
calls beside them.

Health has a port and threads of its own, because under overload the pending-call cap of the first
server would refuse its probes, too.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import grpc
from grpc_channelz.v1 import channelz
from msgspec import Struct

from gateway.rpc import acceptor
from gateway.rpc.core_calls import CoreCalls
from gateway.rpc.health import Health
from gateway.rpc.in_flight import InFlight
from gateway.rpc.port import AddressInUse, refused
from gateway.rpc.reflection import add_reflection
from gateway.rpc.server_certificate import Certificate, ServerCertificate
from gateway.rpc.settings import ServerSettings

_HEALTH_THREADS: Final = 4
_HEALTH_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    # Anybody may ask, and asks for no more than the name of a service.
    ("grpc.max_receive_message_length", 4096),
    ("grpc.http2.bdp_probe", 0),
)
_PING_INTERVAL_MS: Final = 5_000
"""Most gRPC libraries let a client ping every 10 s at most.

Half of that, since the way may bring two pings close together.
"""
_STREAMS_S: Final = 2.0
"""What streams get to be ended in order, before new calls are refused."""
_QUIET_S: Final = 0.15
"""For how long no call comes where all callers wait: longer than a busy machine leaves the process
without a processor.
"""
_HELD_S: Final = 1.0
"""How long calls are held at most."""
_READ_S: Final = 5.0
"""What callers get to read the last answers once all calls are carried out."""
_LAST_WORDS_S: Final = 0.5
"""What the calls in flight get at the end of the grace to be answered by us; gRPC would cut them
without a word.
"""


class Bounds(Struct, frozen=True):
    """What the server's limits depend on beside the settings: how many connections there is room
    for, and the largest request that an RPC takes.
    """

    connections: int
    request_bytes: int


class Listener(Protocol):
    """Takes calls by another protocol, with the same handlers behind it."""

    @property
    def address(self) -> str:
        """With the real port once started."""
        ...

    @property
    def certificate(self) -> "Certificate | None": ...

    async def start(self) -> None:
        """Raises AddressInUse."""
        ...

    def leave(self) -> None:
        """Has clients told to make their next calls elsewhere."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Takes no new calls, and cuts those that go on after the grace."""
        ...


class Servers:
    """All of them, from start to drained.

    `address` and `health_address` hold the real ports once started.
    """

    def __init__(
        self,
        settings: ServerSettings,
        handlers: Sequence[grpc.GenericRpcHandler],
        service_names: Iterable[str],
        in_flight: InFlight,
        bounds: Bounds,
        *,
        has_room: Callable[[], bool],
        beside: Listener | None = None,
        shared: bool = False,
    ) -> None:
        """`in_flight`: the calls that `handlers` carry out, and those of `beside`. `has_room`:
        whether a call that comes now need not wait.

        `shared`: other processes listen on the same port, and one for all of them on that of
        health.
        """
        self._settings = settings
        self.in_flight = in_flight
        options = _options(settings, bounds, shared=shared)
        self.core_calls = CoreCalls(lambda: acceptor.server(options, has_room))
        self._services = self.core_calls.server
        self._services.add_generic_rpc_handlers(tuple(handlers))
        self._beside = beside
        self._certificate = ServerCertificate(settings.tls) if settings.tls else None
        names = tuple(service_names)
        if settings.reflection:
            add_reflection(self._services, names)
        self.health = Health(names, settings.stall_s)
        self._health_server = None if shared else HealthServer(self.health)
        self.address = settings.listen
        self.health_address = ""

    @property
    def certificates(self) -> list[Certificate]:
        """By which this process is known, for its renewal; empty without TLS."""
        beside = self._beside.certificate if self._beside is not None else None
        return [each for each in (self._certificate, beside) if each is not None]

    @property
    def addresses(self) -> list[str]:
        """Where callers connect."""
        return [self.address, *([self._beside.address] if self._beside is not None else ())]

    async def start(self) -> None:
        """Listens and serves. Raises AddressInUse."""
        self.address = _bind(self._services, self._settings.listen, self._certificate)
        if self._health_server is not None:
            self.health_address = self._health_server.bind(self._settings.health_listen)
        # gRPC cannot stop what has only half started.
        starting = asyncio.ensure_future(self._services.start())
        try:
            await asyncio.shield(starting)
        finally:
            await starting
        if self._beside is not None:
            await self._beside.start()
        if self._health_server is not None:
            self._health_server.start()
        self.health.start()

    async def drain(
        self, end_streams: Callable[[float], Awaitable[None]], release: Callable[[], None]
    ) -> None:
        """Says NOT_SERVING, serves on for a while, then lets the calls in flight finish; bounded by
        both settings.

        `end_streams` has every stream ended within the seconds given. `release` is called shortly
        before the grace ends and must have the calls that are left answered at once.
        """
        self.health.announce(serving=False)
        if self._beside is not None:
            self._beside.leave()
        await asyncio.sleep(self._settings.drain_delay_s)
        grace_s = self._settings.drain_grace_s
        await end_streams(min(grace_s, _STREAMS_S))
        loop, release_s = asyncio.get_running_loop(), max(grace_s / 2, grace_s - _LAST_WORDS_S)
        timers = [
            loop.call_later(release_s, release),
            # What has nothing to do with the cloud, such as a request that does not arrive.
            loop.call_later((release_s + grace_s) / 2, self.in_flight.refuse),
        ]
        try:
            await self.stop(grace_s)
        finally:
            for timer in timers:
                timer.cancel()

    async def stop(self, grace_s: float) -> None:
        """Refuses new calls and cuts the rest after the grace, or once all are carried out and what
        is left is not read.
        """
        stopped = await self._stopping(grace_s)
        unread = asyncio.create_task(self._only_unread())
        await asyncio.wait({stopped, unread}, return_when=asyncio.FIRST_COMPLETED)
        unread.cancel()
        if not stopped.done():
            await self._services.stop(None)
            if self._beside is not None:
                await self._beside.stop(0)
        await stopped
        self.health.end()
        if self._health_server is not None:
            await self._health_server.stop()

    async def _stopping(self, grace_s: float) -> "asyncio.Task[None]":
        """Has callers told to go elsewhere, before they are answered.

        Calls that gRPC has taken and not handed over by then end without a word (CANCELLED). So
        all that come are held until it has handed over what it has: who waits for an answer makes
        no further call meanwhile.
        """
        with self.in_flight.holding():
            if grace_s:
                await self.in_flight.quiet(_QUIET_S, _HELD_S)
            stopped = asyncio.create_task(self._all_stopped(grace_s))
            # It does so as soon as it runs.
            await asyncio.sleep(0)
        return stopped

    async def _all_stopped(self, grace_s: float) -> None:
        beside = [self._beside.stop(grace_s)] if self._beside is not None else []
        await asyncio.gather(self._services.stop(grace_s), *beside)

    async def _only_unread(self) -> None:
        """Returns once all calls are carried out, and their callers have had time to read."""
        while True:
            await self.in_flight.none()
            await asyncio.sleep(_READ_S)
            if not self.in_flight.number:
                return


class HealthServer:
    """Health, and what gRPC tells of its connections (channelz), on a port of their own."""

    def __init__(self, health: Health) -> None:
        self._server = grpc.server(
            ThreadPoolExecutor(_HEALTH_THREADS, "health"), options=_HEALTH_OPTIONS
        )
        health.add_to(self._server)
        channelz.add_channelz_servicer(self._server)

    def bind(self, address: str) -> str:
        """The address with the real port. Raises AddressInUse."""
        return _bind(self._server, address, None)

    def start(self) -> None:
        self._server.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.stop(0).wait)


def _bind(server: Any, address: str, certificate: ServerCertificate | None) -> str:  # noqa: ANN401 - aio and sync servers share no type
    try:
        port = (
            server.add_insecure_port(address)
            if certificate is None
            else server.add_secure_port(address, certificate.credentials)
        )
    except RuntimeError as error:
        # Its text is for the library's own log.
        raise AddressInUse(address, refused(address)) from error
    if not port:
        raise AddressInUse(address, refused(address))
    return f"{address.rpartition(':')[0]}:{port}"


def _options(settings: ServerSettings, bounds: Bounds, *, shared: bool) -> list[tuple[str, int]]:
    limits = settings.limits
    return [
        # Two gateways on one port would be a mistake that nobody sees.
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_concurrent_streams", limits.max_concurrent_streams),
        # gRPC counts a stream until its call is taken down, some turns of the loop after the client
        # has read its end and begun the next; without room for those it would refuse that.
        ("grpc.http2.max_deallocating_streams", limits.max_concurrent_streams),
        # For all RPCs; most of them take less.
        (
            "grpc.max_receive_message_length",
            max(limits.max_message_bytes, bounds.request_bytes),
        ),
        # Without a message that is read, a stream takes in 64 KiB at most. gRPC would let clients
        # that send much have ever larger windows, on every stream.
        ("grpc.http2.bdp_probe", 0),
        # The soft limit equals the hard one: between the two, grpc refuses at random.
        ("grpc.max_metadata_size", limits.max_metadata_bytes),
        ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
        # The backlog of aio sits inside the C core, out of reach of any handler; only these two
        # bound it.
        ("grpc.server.max_pending_requests", limits.max_pending_requests),
        ("grpc.server.max_pending_requests_hard_limit", 2 * limits.max_pending_requests),
        ("grpc.max_allowed_incoming_connections", bounds.connections),
        ("grpc.server_handshake_timeout_ms", round(limits.handshake_timeout_s * 1000)),
        ("grpc.max_connection_age_ms", round(limits.max_connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", round(limits.max_connection_age_grace_s * 1000)),
        ("grpc.keepalive_time_ms", round(limits.keepalive_time_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_timeout_s * 1000)),
        ("grpc.http2.max_ping_strikes", limits.max_ping_strikes),
        # Clients find out by pings that a connection has died without a word, also one that they
        # keep for later calls. grpc would allow one in five minutes, and without a call one in two
        # hours, and call more of them a strike.
        ("grpc.http2.min_ping_interval_without_data_ms", _PING_INTERVAL_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
