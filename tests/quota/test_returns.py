"""A Valkey that comes back with its data while outcomes are open: every call has an answer of its
own, and what is open ends.
"""

import asyncio
import random
import shutil
import signal
from collections import Counter

import pytest
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from tests.functional.calls import until
from tests.quota.fleet import create, delete, listed, running_fleet, until_ok
from tests.quota.oracle import agreed, created
from tests.quota.scenes import SOAK, limit, often, outcome, posts
from tests.quota.test_outages import until_known
from tests.state.valkey_server import running_valkey

pytestmark = pytest.mark.timeout(900 if SOAK else 300)
HURRIED = {"timeout_s": 0.4}
NEVER_ARRIVED = {"kind": "cut", "when": "before_commit", "match": {"operation": "CreateVault"}}


@pytest.fixture
def durable(tmp_path):
    """A server that keeps its data over a restart."""
    with running_valkey(tmp_path, durable=True) as server:
        yield server


def restarted(valkey):
    valkey.end()
    valkey.start()


async def test_an_open_outcome_stops_no_other_call_after_the_store_has_come_back(tmp_path, durable):
    async with running_fleet(
        tmp_path, durable, 2, limit("vaults", "tenant", 9), state=HURRIED, quota={"settle_s": 9}
    ) as fleet:
        worlds = fleet.worlds
        await until_ok(worlds[0], 0)
        worlds[0].emulator.state.faults.add(NEVER_ARRIVED)
        assert (await create(worlds[0], 1, request_id="r-1")).reason == "OUTCOME_UNKNOWN"
        restarted(durable)
        for number, world in enumerate(worlds * 2):
            await until_ok(world, 10 + number, request_id=f"r-{10 + number}")
        assert len(posts(worlds[0], committed=True)) == 5
        await agreed(worlds[0])
        await until_ok(worlds[1], 1, request_id="r-1")
        assert set(created(worlds[0]).values()) == {1}


@pytest.mark.parametrize("others", often([0], [0, 1]))
async def test_what_a_dead_gateway_sent_counts_although_the_store_forgot_it(
    tmp_path, durable, others
):
    """The store comes back without its last writes, while a gateway dies that could tell them."""
    async with running_fleet(
        tmp_path,
        durable,
        1 + others,
        limit("vaults", "tenant", 3),
        state=HURRIED,
        quota={"settle_s": 4},
    ) as fleet:
        first, last = fleet.worlds[0], fleet.worlds[-1]
        await until_ok(first, 0)
        files, kept = tmp_path / "appendonlydir", tmp_path / "kept"
        shutil.copytree(files, kept)
        slow = {"kind": "delay", "seconds": 2, "match": {"operation": "CreateVault"}, "times": 2}
        first.emulator.state.faults.add(slow)
        calls = [asyncio.create_task(create(first, number)) for number in (1, 2)]
        await until(lambda: len(posts(first)) == 3)
        durable.kill()
        await fleet.processes[0].end(signal.SIGKILL)
        await asyncio.gather(*calls)
        shutil.rmtree(files)
        shutil.copytree(kept, files)
        durable.start()
        await fleet.processes[0].start(**fleet.environ)
        await fleet.processes[0].serving()
        for number, world in enumerate((first, last)):
            assert (await until_known(world, 10 + number)).reason == "RESOURCE_COUNT_LIMIT"
        assert len(created(last)) == 3


async def test_no_gateway_is_missed_that_is_there_or_ended_in_order(tmp_path, durable):
    async with running_fleet(
        tmp_path, durable, 2, limit("vaults", "tenant", 9), quota={"settle_s": 600}
    ) as fleet:
        for number, world in enumerate(fleet.worlds):
            await until_ok(world, number)
        await fleet.processes[1].end()
        restarted(durable)
        await fleet.processes[1].start(**fleet.environ)
        for number, world in enumerate(fleet.worlds):
            await until_ok(world, 10 + number)


async def churn(world, numbers, alive, seen, seed):
    """Creates, repeats, grows, deletes and lists until it is cancelled."""
    chance, vaults = random.Random(seed), world.stub(VaultServiceStub)
    while True:
        number = next(numbers)
        match chance.random():
            case x if x < 0.2 and alive:
                ended = await delete(world, alive.pop(chance.randrange(len(alive))))
            case x if x < 0.35 and alive:
                wanted = vault_pb2.UpdateVaultRequest(
                    vault_id=chance.choice(alive),
                    vault={"billing": {"size_gib": chance.randrange(10, 50)}},
                )
                ended = await outcome(world, vaults.UpdateVault, wanted)
            case x if x < 0.4:
                ended = await listed(world)
            case _:
                again = 1 + (chance.random() < 0.3)
                for ended in await asyncio.gather(
                    *(
                        create(world, number, request_id=f"r-{number}", within_s=3)
                        for _ in range(again)
                    )
                ):
                    seen[ended.reason] += 1
                    if ended.reason == "OK" and "replayed" not in ended.trailers:
                        alive.append(ended.response.vault.id)
        seen[ended.reason] += 1
        await asyncio.sleep(0.01)


@pytest.mark.skipif(not SOAK, reason="takes half a minute")
async def test_no_call_ends_as_internal_while_everything_goes_wrong(tmp_path, durable):
    """Answers are lost, lists are late, the store comes back with its data, and a gateway is
    killed.
    """
    limits = (limit("vaults", "tenant", 40), limit("capacity_gib", "tenant", 10**6))
    async with running_fleet(
        tmp_path, durable, 2, *limits, state=HURRIED, quota={"settle_s": 4, "recount_s": 5}
    ) as fleet:
        world = fleet.worlds[0]
        await until_ok(world, "first")
        faults = world.emulator.state.faults
        for when in ("before_commit", "after_commit"):
            faults.add(
                {
                    "kind": "cut",
                    "when": when,
                    "match": {"operation": "CreateVault"},
                    "probability": 0.05,
                    "times": None,
                }
            )
        faults.add(
            {
                "kind": "cut",
                "when": "after_commit",
                "match": {"operation": "UpdateVault"},
                "probability": 0.1,
                "times": None,
            }
        )
        faults.add(
            {"kind": "list_lag", "seconds": 1, "match": {"operation": "ListVault"}, "times": None}
        )
        numbers, alive, seen = iter(range(1, 10**6)), [], Counter()
        work = [
            asyncio.create_task(churn(fleet.worlds[n % 2], numbers, alive, seen, n))
            for n in range(8)
        ]
        for _ in range(often(1, 12)):
            await asyncio.sleep(1.5)
            restarted(durable)
            await asyncio.sleep(7)
            if SOAK:
                await fleet.restart(1, signal.SIGKILL)
                await asyncio.sleep(7)
                assert durable.command("FLUSHALL").startswith(b"+OK")
                await asyncio.sleep(7)
        for task in work:
            task.cancel()
        ended = await asyncio.gather(*work, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended
        assert seen["INTERNAL"] == 0
        assert seen["OK"] > 20
        faults.remove()
        await agreed(world, within_s=90)
