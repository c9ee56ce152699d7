"""A Valkey that is paused, killed or emptied under load: growth is refused until it is known again
how much there is, and nothing is done twice.
"""

import asyncio
import contextlib
import functools
import random
import signal
from collections import Counter

import grpc
import pytest

from tests.quota.fleet import at_most, create, delete, listed, running_fleet, until_ok
from tests.quota.oracle import agreed, created, nothing_open, peak, sizes_of
from tests.quota.scenes import SOAK, gateway, limit, often, posts, rate

pytestmark = pytest.mark.timeout(900 if SOAK else 300)
SLOW = {"kind": "delay", "seconds": 7, "match": {"operation": "CreateVault"}, "times": None}
HURRIED = {"timeout_s": 0.4}


def restarted_empty(valkey):
    valkey.kill()
    valkey.start()


def flushed(valkey):
    assert valkey.command("FLUSHALL").startswith(b"+OK")


async def until_known(world, number):
    """How the create ends once the store answers."""
    async with asyncio.timeout(120):
        while (ended := await create(world, number)).reason == "QUOTA_STORE_DOWN":  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.1)
    return ended


async def sent(world, count):
    """Waits until so many creates have come to CBR."""
    async with asyncio.timeout(90):
        while len(posts(world)) < count:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def paused(valkey):
    valkey.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        valkey.signal(signal.SIGCONT)


async def test_what_was_on_its_way_when_the_data_were_lost_still_counts(tmp_path, valkey):
    """CBR shows it later than it is counted, and the gateway that sent it gives up waiting: but it
    knows of it.
    """
    most = 6
    async with running_fleet(
        tmp_path, valkey, 2, limit("vaults", "tenant", most), state=HURRIED, quota={"settle_s": 8}
    ) as fleet:
        worlds = fleet.worlds
        await until_ok(worlds[0], 0)
        worlds[0].emulator.state.faults.add(SLOW)
        for lose in often((flushed,), (flushed, restarted_empty) * 5):
            before = len(posts(worlds[0]))
            first = [asyncio.create_task(until_known(worlds[0], n)) for n in range(1, most)]
            await sent(worlds[0], before + most - 1)
            lose(valkey)
            # The other gateway, which does not know what is on its way.
            ended = await until_known(worlds[1], most)
            assert ended.reason == "RESOURCE_COUNT_LIMIT"
            assert {each.reason for each in await asyncio.gather(*first)} == {"OUTCOME_UNKNOWN"}
            await agreed(worlds[0])
            assert peak(worlds[0]) == most
            for vault_id in list(sizes_of(worlds[0]))[1:]:
                await delete(worlds[0], vault_id)
            await agreed(worlds[0])


async def test_without_an_answer_of_the_store_nothing_grows_reads_go_on_and_rates_are_shares(
    tmp_path, valkey
):
    limits = (limit("vaults", "tenant", 5, subject="payments"), rate(0.01, 40, subject="databases"))
    async with running_fleet(tmp_path, valkey, 2, *limits, state=HURRIED) as fleet:
        world = fleet.worlds[0]
        made = await until_ok(world, 1)
        with paused(valkey):
            # The first is for a tenant without limits: it has gone to the store when that does not
            # answer, and must leave nothing behind.
            async with asyncio.timeout(60):
                ended = [
                    await create(world, 3, "standby", within_s=300, request_id="r-3"),
                    await create(world, 2, within_s=300),
                ]
            for refused in ended:
                assert (refused.reason, refused.code) == (
                    "QUOTA_STORE_DOWN",
                    grpc.StatusCode.UNAVAILABLE,
                )
                assert refused.details["RetryInfo"].retry_delay.seconds == 1
            assert (await listed(world)).reason == "OK"
            assert (await delete(world, made.response.vault.id)).reason == "OK"
            assert len(posts(world)) == 1
            for one in fleet.worlds:
                # Two cost units each, of half the limit.
                assert Counter([(await listed(one, "databases")).reason for _ in range(12)]) == {
                    "OK": 10,
                    "RATE_LIMIT": 2,
                }
        await until_ok(world, 4)
        await agreed(world)
        await nothing_open(world, "standby")


async def test_however_often_the_store_pauses_each_operation_is_applied_once(tmp_path, valkey):
    chance, count = random.Random(5), often(24, 400)
    async with running_fleet(
        tmp_path, valkey, 2, limit("vaults", "tenant", 1000, subject="payments"), state=HURRIED
    ) as fleet:
        worlds = fleet.worlds
        worlds[0].emulator.state.faults.add(
            {"kind": "delay", "seconds": 0.2, "match": {"operation": "CreateVault"}, "times": None}
        )
        tenants = ("payments", "databases")
        everyone = [
            functools.partial(
                until_ok, worlds[n % 2], n, tenant=tenants[n % 3 % 2], request_id=f"r-{n}"
            )
            for n in range(count)
        ]
        work = asyncio.create_task(at_most(6, everyone))
        for length_s in (0.3, 0.9, *(chance.uniform(0.3, 5) for _ in range(often(0, 15)))):
            await asyncio.sleep(chance.uniform(0.1, 0.3))
            with paused(valkey):
                await asyncio.sleep(length_s)
            assert valkey.command("SCRIPT FLUSH").startswith(b"+OK")
        await work
        assert Counter((created(worlds[0]) + created(worlds[0], "databases")).values()) == {
            1: count
        }
        await agreed(worlds[0])
        await nothing_open(worlds[0], "databases")


async def test_a_store_that_lost_its_data_lets_nothing_grow_until_all_is_counted_again(
    tmp_path, valkey
):
    async with running_fleet(
        tmp_path, valkey, 2, limit("vaults", "tenant", 3), state=HURRIED
    ) as fleet:
        worlds = fleet.worlds
        for number in range(2):
            await until_ok(worlds[number], number)
        valkey.kill()
        assert (await create(worlds[0], 2)).reason == "QUOTA_STORE_DOWN"
        valkey.start()
        # More rounds would run into the time at which all is counted again, on a busy machine.
        ended = await asyncio.gather(*(create(world, 2) for world in worlds))
        assert {e.reason for e in ended} == {"QUOTA_STORE_DOWN"}
        await until_ok(worlds[1], 3)
        ended = await asyncio.gather(*(create(world, n) for n in range(4) for world in worlds))
        # A busy machine may take longer than the store has here.
        assert {e.reason for e in ended} - {"QUOTA_STORE_DOWN"} == {"RESOURCE_COUNT_LIMIT"}
        assert len(posts(worlds[0], committed=True)) == 3


async def test_what_cannot_be_counted_does_not_grow():
    async with gateway(
        limit("vaults", "tenant", 3), sections={"quota": {"recovery": False}}
    ) as world:
        world.emulator.state.faults.add(
            {"kind": "status", "status": 403, "match": {"operation": "ListVault"}, "times": None}
        )
        assert (await create(world, 1)).reason == "QUOTA_STORE_DOWN"
        world.emulator.state.faults.remove()
        assert (await create(world, 1)).reason == "OK"
