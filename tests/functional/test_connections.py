"""Connections on which nobody calls lock nobody out, and nobody has all of them."""

import asyncio

import grpc
import pytest

from tests.functional.calls import Caller, Failure, caller, until
from tests.harness import running_gateway

CALLER = "AccessService/GetCaller"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def world_with(**limits):
    return running_gateway({"limits": limits})


async def idle(world, count, local="127.0.0.1"):
    """Connections that say hello and no more."""
    host, _, port = world.app.address.rpartition(":")
    opened = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection(host, int(port), local_addr=(local, 0))
        writer.write(PREFACE)
        opened.append((reader, writer))
    return opened


async def ended(connections):
    """How many the other side has ended by now."""
    over = 0
    for reader, _ in connections:
        while not reader.at_eof():
            try:
                async with asyncio.timeout(0.01):
                    if not await reader.read(65536):
                        break
            except TimeoutError:
                break
            except ConnectionError:
                over += 1
                break
        else:
            over += 1
            continue
        over += reader.at_eof()
    return over


def close(connections):
    for _, writer in connections:
        writer.close()


def seen(world):
    return world.app.connections


async def test_a_connection_without_a_known_caller_is_ended_and_one_with_stays():
    async with world_with(identification_timeout_s=1.5) as world:
        assert not isinstance(await caller(world)(CALLER), Failure)
        strangers = await idle(world, 5)
        await until(lambda: seen(world).ended >= 5)
        assert await ended(strangers) == 5
        peers = {each.peer for each in seen(world)._open.values()}
        assert len(peers & seen(world).identified) == 1
        assert not isinstance(await caller(world)(CALLER), Failure)
        close(strangers)


async def test_calls_without_a_key_do_not_keep_a_connection():
    async with world_with(identification_timeout_s=1.5) as world:
        stranger = caller(world, "nobody")
        assert (await stranger(CALLER)).reason == "CREDENTIALS_INVALID"
        await until(lambda: seen(world).ended >= 1)
        # Its new connection may be ended, too, just as it calls.
        again = [(await stranger(CALLER)).reason for _ in range(3)]
        assert "CREDENTIALS_INVALID" in again, "it may come again"


async def test_so_many_idle_connections_lock_nobody_out():
    async with world_with(
        max_connections=60, max_unidentified_connections=10, identification_timeout_s=300
    ) as world:
        old = await idle(world, 10)
        await until(lambda: len(seen(world)._open) >= 10)
        new = await idle(world, 49)
        await until(lambda: seen(world).ended >= 49)
        assert (await ended(old), await ended(new)) == (10, 39), "the oldest of them go"
        assert not isinstance(await caller(world)(CALLER), Failure)
        close([*old, *new])


async def test_the_newest_connections_of_an_address_that_has_too_many_are_ended():
    async with world_with(max_connections_per_address=8) as world:
        assert not isinstance(await caller(world)(CALLER), Failure)
        old = await idle(world, 8, "127.0.0.2")
        await until(lambda: len(seen(world)._open) >= 9)
        new = await idle(world, 12, "127.0.0.2")
        few = await idle(world, 5, "127.0.0.3")
        await until(lambda: seen(world).ended >= 12)
        assert (await ended(old), await ended(new), await ended(few)) == (0, 12, 0)
        assert not isinstance(await caller(world)(CALLER), Failure)
        close([*old, *new, *few])


async def test_a_client_that_comes_again_at_once_is_held_to_its_number():
    async with world_with(max_connections_per_address=4) as world:
        for _ in range(3):
            many = await idle(world, 10, "127.0.0.2")
            before = seen(world).ended
            await until(lambda before=before: seen(world).ended > before)
            close(many)
        assert not isinstance(await caller(world)(CALLER), Failure)


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        ("127.0.0.1:0", "127.0.0.1"),
        ("[::1]:0", "[::1]"),
        ("[::]:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
    ],
)
async def test_a_peer_is_known_by_every_kind_of_address(listen, host):
    async with running_gateway({"listen": listen}) as world:
        port = world.app.address.rpartition(":")[2]
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            assert not isinstance(await Caller(channel, world.metadata())(CALLER), Failure)
            seen(world).look()
            assert len(seen(world).identified) == 1
