"""Requests that do not arrive: nothing is kept for callers whom nobody knows, nor for long."""

import asyncio
import struct
from collections import Counter

import grpc
import pytest

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


DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
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


async def test_messages_that_stop_half_way_end_their_calls_where_nobody_knows_the_caller():
    """Each stream sends the first KiB of 900, and no more."""
    async with running_gateway() as world:
        host, _, port = world.app.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        block = headers(
            **{
                ":method": "POST",
                ":scheme": "http",
                ":path": LIST,
                ":authority": "gateway",
                "te": "trailers",
                "content-type": "application/grpc",
            }
        )
        half = b"\x00" + struct.pack(">I", 900 * 1024) + bytes(1024)
        streams = {2 * number + 1 for number in range(STREAMS)}
        async with asyncio.timeout(60):
            for stream in sorted(streams):
                writer.write(frame(HEADERS, END_HEADERS, stream, block))
                writer.write(frame(DATA, 0, stream, half))
            ended = await answers(reader, writer, streams)
        assert ended.keys() == streams
        writer.close()
