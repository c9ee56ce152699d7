"""Requests that do not arrive: nothing is kept for callers whom nobody knows, nor for long."""

import asyncio
import struct
from collections import Counter

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.functional.calls import failure_of
from tests.harness import running_gateway

LIST = "/cbrgateway.v1.VaultService/ListVaults"
WATCH = "/cbrgateway.v1.TaskService/WatchTasks"
STREAMS = 60


async def never():
    """A request of which no byte comes."""
    await asyncio.Event().wait()
    yield b""


async def none():
    return
    yield b""


async def ended(world, method, requests, metadata):
    call = world.channel.stream_unary(method)(requests, metadata=metadata, timeout=30)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return failure_of(caught.value)


@pytest.fixture
async def world():
    async with running_gateway(server={"limits": {"message_timeout_s": 0.3}}) as running:
        yield running


@pytest.mark.parametrize("method", [LIST, WATCH])
async def test_a_request_that_does_not_arrive_is_given_up(world, method):
    failed = await ended(world, method, never(), world.metadata())
    assert (failed.code, failed.reason) == ("ABORTED", "CALLER_TOO_SLOW")


@pytest.mark.parametrize("method", [LIST, WATCH])
async def test_a_call_without_a_request_is_refused(world, method):
    failed = await ended(world, method, none(), world.metadata())
    assert (failed.code, failed.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")


CREATE = "/cbrgateway.v1.VaultService/CreateVault"


async def sent(*messages):
    for message in messages:
        yield message


@pytest.mark.parametrize(("method", "most"), [(LIST, 131072), (WATCH, 131072), (CREATE, 1048576)])
async def test_a_request_that_is_too_large_for_its_rpc_is_refused_with_the_limit(method, most):
    """One that is not is looked at, and found to be none."""
    async with running_gateway() as world:
        failed = await ended(world, method, sent(bytes(most)), world.metadata())
        assert (failed.reason, "of at most" in failed.message) == ("FIELD_INVALID", False)
        larger = await ended(world, method, sent(bytes(most + 1)), world.metadata())
    if method == CREATE:
        # No RPC takes more: gRPC does not hand it over.
        assert (larger.code, str(most) in larger.message) == ("RESOURCE_EXHAUSTED", True)
    else:
        assert (larger.code, larger.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
        assert f"{most + 1} bytes, of at most {most}" in larger.message


UNREAD = {
    LIST: ("UNAUTHENTICATED", "CREDENTIALS_INVALID"),
    WATCH: ("UNAUTHENTICATED", "CREDENTIALS_INVALID"),
    "/cbrgateway.v1.VaultService/Lst": ("UNIMPLEMENTED", "UNIMPLEMENTED"),
}


@pytest.mark.parametrize("method", UNREAD)
async def test_nothing_is_read_for_a_caller_whom_nobody_knows(method):
    async with running_gateway() as world:
        failed = await ended(world, method, never(), ())
        assert (failed.code, failed.reason) == UNREAD[method]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def headers(**fields: str) -> bytes:
    return b"".join(
        bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
INITIAL_WINDOW = 4
END_HEADERS, END_STREAM, ACK = 4, 1, 1


async def answers(reader, writer, of: set[int]) -> Counter[int]:
    """Until every stream of these has ended: how many ended by the other side."""
    ended: Counter[int] = Counter()
    while ended.keys() < of:
        head = await reader.readexactly(9)
        length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        stream = int.from_bytes(head[5:])
        await reader.readexactly(length)
        if kind == SETTINGS and not flags & ACK:
            writer.write(frame(SETTINGS, ACK, 0))
        if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            ended[stream] += 1
    return ended


CALL = {
    ":method": "POST",
    ":scheme": "http",
    ":path": LIST,
    ":authority": "gateway",
    "te": "trailers",
    "content-type": "application/grpc",
}


async def test_messages_that_stop_half_way_end_their_calls_where_nobody_knows_the_caller():
    """Each stream sends the first KiB of 900, and no more."""
    async with running_gateway() as world:
        host, _, port = world.app.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        block = headers(**CALL)
        half = b"\x00" + struct.pack(">I", 900 * 1024) + bytes(1024)
        streams = {2 * number + 1 for number in range(STREAMS)}
        async with asyncio.timeout(60):
            for stream in sorted(streams):
                writer.write(frame(HEADERS, END_HEADERS, stream, block))
                writer.write(frame(DATA, 0, stream, half))
            ended = await answers(reader, writer, streams)
        assert ended.keys() == streams
        writer.close()


class Windows:
    """What the other side lets us send: how many bytes on each stream, and on all together."""

    def __init__(self, reader, writer, streams: list[int]) -> None:
        self._reader, self._writer = reader, writer
        self._initial = self._all = 2**16 - 1
        self._more = dict.fromkeys(streams, 0)
        self.sent = dict.fromkeys(streams, 0)

    async def fill(self) -> None:
        for stream, sent in self.sent.items():
            left = min(self._initial + self._more[stream] - sent, self._all)
            for start in range(0, left, 16384):
                size = min(16384, left - start)
                self._writer.write(frame(DATA, 0, stream, bytes(size)))
                self.sent[stream] += size
                self._all -= size
        await self._writer.drain()

    async def hear(self) -> None:
        """Takes in what the other side says, until it has answered to all that was sent."""
        self._writer.write(frame(SETTINGS, 0, 0))
        while True:
            head = await self._reader.readexactly(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
            body = await self._reader.readexactly(int.from_bytes(head[:3]))
            if kind == SETTINGS and flags & ACK:
                return
            if kind in {PING, SETTINGS} and not flags & ACK:
                self._writer.write(frame(kind, ACK, 0, body if kind == PING else b""))
            if kind == SETTINGS:
                known = dict(struct.iter_unpack(">HI", body))
                self._initial = known.get(INITIAL_WINDOW, self._initial)
            if kind == WINDOW_UPDATE and stream:
                self._more[stream] += int.from_bytes(body)
            elif kind == WINDOW_UPDATE:
                self._all += int.from_bytes(body)


async def test_little_is_taken_in_of_requests_that_nobody_reads_yet():
    """However much their client would send: gRPC used to give it 16 MiB on each stream."""
    async with running_gateway() as world:
        host, _, port = world.app.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        streams = [2 * number + 1 for number in range(8)]
        windows = Windows(reader, writer, streams)
        with world.app.servers.in_flight.holding():
            for stream in streams:
                writer.write(frame(HEADERS, END_HEADERS, stream, headers(**CALL)))
            async with asyncio.timeout(60):
                for _ in range(40):
                    await windows.fill()
                    await windows.hear()
        assert max(windows.sent.values()) < 2**16
        assert sum(windows.sent.values()) >= 4 * 2**16, "all of them were sent something"
        writer.close()


async def test_nothing_large_is_taken_where_health_is_told():
    async with (
        running_gateway() as world,
        grpc.aio.insecure_channel(world.app.health_address) as channel,
    ):
        check = health_pb2_grpc.HealthStub(channel).Check
        assert (await check(health_pb2.HealthCheckRequest())).status
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(health_pb2.HealthCheckRequest(service="x" * 4097))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
