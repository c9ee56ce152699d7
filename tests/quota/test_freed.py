"""Room that deletes free is seen soon, whatever comes between: a count that is under way, a list
that is late, a process that does not live to give it back, a store that is away.
"""

import asyncio

import pytest

from gateway.changes.freed import Freed
from gateway.state import StoreDown
from gateway.state.sqlite import SqliteOperations
from tests.functional.calls import until
from tests.quota.fleet import create, delete
from tests.quota.oracle import agreed
from tests.quota.scenes import gateway, limit

LIMITS = limit("vaults", "tenant", 9), limit("capacity_gib", "tenant", 900)
WITHIN_S = 20
QUOTA = {"quota": {"sweep_s": 1, "settle_s": 120}}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr("gateway.limits.recount._AGAIN_S", 0.2)


async def made(world, count=3):
    return [(await create(world, number)).response.vault.id for number in range(count)]


def asked(world, operation):
    return [each for each in world.emulator.state.truth.entries() if each.operation == operation]


async def test_deletes_while_it_is_counted():
    async with gateway(*LIMITS, sections=QUOTA) as world:
        vaults = await made(world)
        slow = {"kind": "delay", "seconds": 1, "match": {"operation": "DeleteVault"}, "times": 3}
        world.emulator.state.faults.add(slow)
        deleting = [asyncio.create_task(delete(world, each)) for each in vaults]
        await until(lambda: len(asked(world, "DeleteVault")) == 3)
        await world.app.recovery.recounter.run()
        assert [(await each).reason for each in deleting] == ["OK"] * 3
        await agreed(world, within_s=WITHIN_S)


async def test_a_process_that_does_not_live_to_give_it_back(monkeypatch):
    monkeypatch.setattr(Freed, "give_back", lambda *_: None)
    async with gateway(*LIMITS, sections=QUOTA) as world:
        for each in await made(world):
            assert (await delete(world, each)).reason == "OK"
        await world.app.recovery.recounter.run()
        await agreed(world, within_s=WITHIN_S)


async def test_a_list_that_still_shows_what_is_gone():
    async with gateway(*LIMITS, sections=QUOTA) as world:
        vaults = await made(world)
        late = {"kind": "list_lag", "seconds": 2, "match": {"operation": "ListVault"}, "times": 2}
        world.emulator.state.faults.add(late)
        for each in vaults:
            assert (await delete(world, each)).reason == "OK"
        await world.app.recovery.recounter.run()
        await agreed(world, within_s=WITHIN_S)


async def test_a_store_that_is_away_while_it_is_deleted(monkeypatch):
    async with gateway(*LIMITS, sections=QUOTA) as world:
        vaults = await made(world)

        async def away(*_):
            raise StoreDown("away")

        with monkeypatch.context() as patch:
            patch.setattr(SqliteOperations, "begin", away)
            for each in vaults:
                assert (await delete(world, each)).reason == "OK"
        await world.app.recovery.recounter.run()
        await agreed(world, within_s=WITHIN_S)
