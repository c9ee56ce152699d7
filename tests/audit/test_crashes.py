"""A gateway that is killed, at every place of a change and at any moment: what reached CBR was on
record before, and everything on record has an end.

The emulator's truth log says what reached CBR.
"""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3

import pytest
from cbrgateway.v1 import task_pb2, vault_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from tests.audit.scenes import (
    assert_good,
    assert_recorded_before,
    audit_section,
    events,
    records,
    unended,
)
from tests.functional.calls import until
from tests.quota.processes import Process
from tests.quota.scenes import new_vault, outcome

SOAK = int(os.environ.get("AUDIT_SOAK", "0"))
KILLS = SOAK * 20 or 1
PLACES = ("after_intent", "audit_written", "before_outcome")
"""Those of the audit log itself; tests/quota/test_crashes.py dies at all of them, and audits,
too.
"""


async def changes(world, rnd):
    """Creates and deletes without end, several at once."""
    stub = world.stub(VaultServiceStub)

    async def one(number):
        while True:
            name = f"{number}-{rnd.randrange(1 << 40)}"
            made = await outcome(
                world, stub.CreateVault, new_vault(name, request_id=name), within_s=5
            )
            if made.reason == "OK" and rnd.random() < 0.5:
                await outcome(
                    world,
                    stub.DeleteVault,
                    vault_pb2.DeleteVaultRequest(vault_id=made.response.vault.id),
                    within_s=5,
                )

    await asyncio.gather(*(one(number) for number in range(4)))


def changes_at(cloud):
    """How many changes have reached CBR."""
    return sum(entry.method != "GET" for entry in cloud.state.truth.entries())


async def life(process, cloud, rnd, **environ):
    """One life of the gateway, which ends by force: at a place, maybe before it serves, or soon
    after a few more requests have reached CBR.
    """
    enough = changes_at(cloud) + len(PLACES) + 1
    await process.start(**environ)

    async def work():
        async with process.world() as world:
            await changes(world, rnd)

    working = asyncio.create_task(work())
    if environ:
        assert await process.ended() == -signal.SIGKILL
    else:
        await until(lambda: changes_at(cloud) >= enough, 60)
        await asyncio.sleep(rnd.uniform(0, 0.5))
        await process.end(signal.SIGKILL)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_change_that_a_crash_kept_from_being_sent_is_settled_also_much_later(tmp_path):
    sections = {
        "audit": audit_section(tmp_path),
        "quota": {"sweep_s": 0.3},
        "state": {"path": str(tmp_path / "state.db")},
    }
    async with running_emulator() as cloud:
        process = Process(tmp_path, cloud, **sections)
        await process.start(CBR_GATEWAY_FAILPOINT="before_sent=kill")
        await process.serving()
        async with process.world() as world:
            await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault("vault"))
        assert await process.ended() == -signal.SIGKILL
        # The time of its reservation is over when the next process starts.
        with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as store, store:
            assert store.execute("UPDATE operation SET deadline = 1").rowcount == 1
        await process.start()
        await until(lambda: "CHANGE_SETTLED" in events(tmp_path))
        await process.end()
        assert changes_at(cloud) == 0
    assert [row["unmapped"].get("fate") for row in records(tmp_path)] == [
        None,
        "UNKNOWN",
        "NOTHING",
    ]
    assert_good(tmp_path)


@pytest.mark.timeout(300 + 20 * KILLS)
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
        for place in PLACES:
            await life(process, cloud, rnd, CBR_GATEWAY_FAILPOINT=f"{place}=kill")
        for _ in range(KILLS):
            await life(process, cloud, rnd)
        await process.start()
        await process.serving()
        async with asyncio.timeout(60):
            while unended(tmp_path):  # noqa: ASYNC110 - another process writes
                await asyncio.sleep(0.2)
        await process.end()
        assert assert_recorded_before(tmp_path, cloud) > len(PLACES), seed
    assert_good(tmp_path)
    unresolved = [
        row for row in records(tmp_path) if row["unmapped"]["event"] == "CHANGE_UNRESOLVED"
    ]
    assert unresolved, "no crash left an intent open, so that nothing was shown"


async def test_streams_that_a_crash_has_cut_have_an_end_after_the_next_start(tmp_path):
    async with running_emulator(pace=Pace(Mode.IMMEDIATE)) as cloud:
        process = Process(
            tmp_path,
            cloud,
            audit=audit_section(tmp_path),
            state={"path": str(tmp_path / "state.db")},
        )
        await process.start()
        async with process.world() as world:
            stub = TaskServiceStub(world.channel)
            watching = [
                stub.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata())
                for _ in range(3)
            ]
            for each in watching:
                await each.read()
            watching[0].cancel()
            await until(
                lambda: (
                    {"STREAM_START", "STREAM_END"}
                    <= {row["unmapped"]["stage"] for row in records(tmp_path)}
                )
            )
            await process.end(signal.SIGKILL)
        await process.start()
        await process.serving()
        await until(lambda: "STREAM_UNRESOLVED" in events(tmp_path))
        await process.end()
    assert_good(tmp_path)
    begun, ended = (
        {
            row["metadata"]["correlation_uid"]: row
            for row in records(tmp_path)
            if row["unmapped"]["stage"] == stage
        }
        for stage in ("STREAM_START", "STREAM_END")
    )
    assert begun.keys() == ended.keys()
    unknown = [row for row in ended.values() if row["unmapped"]["event"] == "STREAM_UNRESOLVED"]
    assert [
        (row["api"]["operation"], row["metadata"]["tenant_uid"], row["unmapped"]["fate"])
        for row in unknown
    ] == [("TaskService/WatchTasks", "payments", "UNKNOWN")] * 2
