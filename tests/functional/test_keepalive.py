"""Pings of clients, as raw HTTP/2: their libraries do not send them as fast as a test wants."""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from gateway.rpc import server as server_module
from tests.functional.calls import Caller, Failure
from tests.harness import World, running_gateway

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY, ACK = 4, 6, 7, 1
INTERVAL_MS = 100


def frame(kind: int, flags: int = 0, payload: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", 0) + payload
    )


class Idle:
    """A connection without calls."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def _read(self) -> tuple[int, int]:
        head = await self._reader.readexactly(9)
        await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4]

    async def answered(self) -> bool:
        """Whether a ping is answered; otherwise the server said goodbye."""
        self._writer.write(frame(PING, payload=b"01234567"))
        try:
            while (found := await self._read()) != (PING, ACK):
                if found[0] == GOAWAY:
                    return False
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        return True

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(server_module, "_PING_INTERVAL_MS", INTERVAL_MS)
    async with running_gateway() as found:
        yield found


async def connected(world: World) -> Idle:
    host, port = world.app.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + frame(SETTINGS) + frame(SETTINGS, ACK))
    return Idle(reader, writer)


async def test_pings_without_a_call_are_answered_as_long_as_they_are_not_too_many(
    world: World,
) -> None:
    idle = await connected(world)
    for number in range(12):
        assert await idle.answered(), f"cut at ping {number}"
        await asyncio.sleep(INTERVAL_MS / 1000 * 1.05)
    idle.close()


async def test_a_flood_of_pings_is_cut(world: World) -> None:
    idle = await connected(world)
    answers = [await idle.answered() for _ in range(20)]
    assert not answers[-1]
    idle.close()


def test_the_interval_leaves_room_for_clients_that_ping_every_ten_seconds() -> None:
    assert server_module._PING_INTERVAL_MS <= 8_000


async def test_a_connection_carries_two_hundred_calls_that_end_and_begin() -> None:
    """Each of 200 callers calls again as soon as it was answered: above its limit gRPC refuses
    about a fifth of them.
    """
    async with running_gateway(server={"limits": {"max_pending_requests": 1000}}) as world:
        caller = Caller(world.channel, World.metadata())

        async def call_on() -> list[str]:
            return [
                answer.code
                for _ in range(4)
                if isinstance(answer := await caller("VaultService/ListVaults"), Failure)
            ]

        assert [
            code
            for codes in await asyncio.gather(*(call_on() for _ in range(200)))
            for code in codes
        ] == []
