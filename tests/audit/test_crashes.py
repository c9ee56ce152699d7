"""A gateway that is killed, at every place of a change and at any moment: what reached CBR was on record before, and everything on record has an end.

The emulator's truth log says what reached CBR.
"""

import asyncio
import json
import os
import random
import signal

import pytest
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from tests.audit.scenes import assert_good, audit_section, records
from tests.quota.processes import Process
from tests.quota.scenes import new_vault, outcome

SOAK = int(os.environ.get("AUDIT_SOAK", "0"))
KILLS = SOAK * 20 or 1
PLACES = ("after_intent", "audit_written", "before_outcome")
MORE_PLACES = ("before_first_byte", "after_answer", "after_sent", "before_told", "after_told", "after_begin", "after_commit") if SOAK else ()


async def changes(world, rnd):
    """Creates and deletes without end, several at once."""
    stub = world.stub(VaultServiceStub)

    async def one(number):
        while True:
            name = f"{number}-{rnd.randrange(1 << 40)}"
            made = await outcome(world, stub.CreateVault, new_vault(name, request_id=name), within_s=5)
            if made.reason == "OK" and rnd.random() < 0.5:
                await outcome(world, stub.DeleteVault, vault_pb2.DeleteVaultRequest(vault_id=made.response.vault.id), within_s=5)

    await asyncio.gather(*(one(number) for number in range(4)))


async def life(process, rnd, **environ):
    """One life of the gateway, which ends by force; at some places it ends before it serves."""
    await process.start(**environ)

    async def work():
        async with process.world() as world:
            await asyncio.wait_for(changes(world, rnd), None if environ else rnd.uniform(0.05, 0.5))

    working = asyncio.create_task(work())
    if environ:
        assert await process.ended() == -signal.SIGKILL
    else:
        await asyncio.wait({working})
        await process.end(signal.SIGKILL)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


def assert_recorded_before(folder, cloud):
    """Every change that reached CBR has an intent that is older."""
    intents: dict[str, list[int]] = {}
    rows = records(folder, own=True)
    for row in rows:
        if row["unmapped"]["event"] == "CHANGE_INTENDED":
            data = row["api"]["request"]["data"]
            intents.setdefault(data["vault"]["name"] if "vault" in data else data["vault_id"], []).append(row["time"])
    reached = [entry for entry in cloud.state.truth.entries() if entry.operation in {"CreateVault", "DeleteVault"}]
    for entry in reached:
        key = json.loads(entry.body)["vault"]["name"] if entry.method == "POST" else entry.target.rpartition("/")[2]
        assert min(intents[key]) <= entry.arrived_at * 1000 + 1, entry
    return len(reached)


def assert_ended(folder):
    """Every intent has an end, and the last word on every change is what became of it."""
    fates: dict[str, str] = {}
    for row in records(folder):
        if row["unmapped"]["stage"] in {"INTENT", "OUTCOME", "RECONCILED"} and row["activity_name"] != "Read":
            uid, fate = row["metadata"]["correlation_uid"], row["unmapped"].get("fate")
            fates[uid] = fate or fates.get(uid, "")
    return {uid: fate for uid, fate in fates.items() if fate not in {"DONE", "NOTHING", ""}}


@pytest.mark.timeout(120 + 20 * KILLS)
async def test_no_change_without_an_intent_and_no_intent_without_an_end(tmp_path):
    seed = random.randrange(1 << 32)
    rnd = random.Random(seed)
    sections = {
        "audit": audit_section(tmp_path, segment_mib=0.05),
        "quota": {"sweep_s": 0.3, "settle_s": 0.5},
        "state": {"path": str(tmp_path / "state.db")},
    }
    async with running_emulator(pace=Pace(Mode.IMMEDIATE), truth_limit=100_000) as cloud:
        process = Process(tmp_path, cloud, **sections)
        for place in (*PLACES, *MORE_PLACES):
            await life(process, rnd, CBR_GATEWAY_FAILPOINT=f"{place}=kill")
        for _ in range(KILLS):
            await life(process, rnd)
        await process.start()
        await process.serving()
        async with asyncio.timeout(60):
            while assert_ended(tmp_path):  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(0.2)
        await process.end()
        assert assert_recorded_before(tmp_path, cloud) > len(PLACES), seed
    assert_good(tmp_path)
    unresolved = [row for row in records(tmp_path) if row["unmapped"]["event"] == "CHANGE_UNRESOLVED"]
    assert unresolved, "no crash left an intent open, so that nothing was shown"
