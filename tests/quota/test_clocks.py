"""Whatever the difference between the gateway's clock and CBR's, a change is made once, and its repeat is told what became of it.

The emulator's clock is ahead or behind; which of the two is right makes no difference.
"""

import asyncio
import contextlib
import time

import grpc
import pytest
from cbrgateway.v1 import backup_pb2, checkpoint_pb2, vault_pb2

from emulator.transitions import Mode, Pace
from gateway.app import open_app
from tests.harness import World, config_for, running_gateway
from tests.quota.scenes import outcome, posts
from tests.tasks.test_submissions import free_again
from tests.tasks.works import FAST, Scene

AHEAD_S = [-900, -90, 0, 90, 900]
AFTER, BEFORE = "after_commit", "before_commit"


def gateway(ahead_s, *, markers=True, **more):
    """Before a cloud whose clock is that far ahead."""
    sections = {"tasks": FAST, "quota": {"markers": markers, "sweep_s": 1, "settle_s": 1}}
    return running_gateway(sections=sections, pace=Pace(Mode.TIME, duration_s=3600), clock_ahead_s=ahead_s, max_skew_s=1000, **more)


@contextlib.asynccontextmanager
async def console(cloud):
    """Somebody who works with CBR, but not through the gateway."""
    async with open_app(config_for(cloud.base_url)) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield Scene(World(app, cloud, channel))


def lose(world, operation, when):
    world.emulator.state.faults.add({"kind": "cut", "when": when, "match": {"operation": operation}})


async def until_ended(world, method, request, within_s=30):
    """Repeats a change as its callers do, until its outcome is known."""
    ends_at = time.monotonic() + within_s
    while (ended := await outcome(world, method, request, within_s=3)).reason in {"OUTCOME_UNKNOWN", "REQUEST_IN_PROGRESS"}:
        assert time.monotonic() < ends_at, ended.reason
        await asyncio.sleep(0.05)
    return ended


async def checkpoint(scene):
    wanted = checkpoint_pb2.CreateCheckpointRequest(checkpoint={"vault_id": (await scene.vault()).id}, request_id="r")
    return scene.checkpoints.CreateCheckpoint, wanted, "CreateCheckpoint"


async def restore(scene):
    backup = await scene.backup()
    target = {"server_id": backup.resource_id}
    return scene.backups.RestoreBackup, backup_pb2.RestoreBackupRequest(backup_id=backup.id, restore=target, request_id="r"), "RestoreBackup"


@pytest.mark.parametrize("ahead_s", AHEAD_S)
@pytest.mark.parametrize("markers", [True, False])
@pytest.mark.parametrize("work", [checkpoint, restore])
async def test_work_whose_answer_was_lost_is_found_once(work, markers, ahead_s):
    async with gateway(ahead_s, markers=markers) as world:
        scene = Scene(world)
        method, request, operation = await work(scene)
        before = len(posts(world, operation, committed=True))
        lose(world, operation, AFTER)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        again = await until_ended(world, method, request)
        assert (again.reason, again.trailers.get("replayed")) == ("OK", "true")
        assert len(posts(world, operation, committed=True)) == before + 1
        started = scene.started("backup" if work is checkpoint else "restore")
        assert list((await scene.known(again.response.submission.id)).task_ids) == started[-1:]


@pytest.mark.parametrize("ahead_s", AHEAD_S)
async def test_tasks_are_found_at_once(ahead_s):
    async with gateway(ahead_s) as world:
        scene = Scene(world)
        held = await scene.vault()
        request = vault_pb2.RemoveVaultResourcesRequest(vault_id=held.id, resource_ids=[held.resources[0].id])
        answer = await scene.call(scene.vaults.RemoveVaultResources, request)
        assert list((await scene.known(answer.submission.id)).task_ids) == scene.started("remove_resource")


@pytest.mark.parametrize("ahead_s", AHEAD_S)
async def test_work_that_was_never_begun_is_begun_once_by_the_repeat(ahead_s):
    async with gateway(ahead_s) as world:
        method, request, operation = await checkpoint(Scene(world))
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        assert (await until_ended(world, method, request)).reason == "OK"
        assert len(posts(world, operation, committed=True)) == 1


@pytest.mark.parametrize("ahead_s", [-90, 0, 90])
async def test_older_work_of_others_is_not_taken_for_ones_own(ahead_s):
    """Somebody restores the same backup in the vendor's console; some seconds later ours is lost before CBR has it."""
    async with gateway(ahead_s) as world, console(world.emulator) as other:
        method, request, operation = await restore(Scene(world))
        await other.call(other.backups.RestoreBackup, request)
        free_again(world)
        await pass_by(world, 4)
        lose(world, operation, BEFORE)
        assert (await outcome(world, method, request)).reason == "OUTCOME_UNKNOWN"
        await asyncio.sleep(1.5)
        assert (await outcome(world, method, request, within_s=1)).reason != "OK"


async def pass_by(world, seconds):
    """Lets time pass in CBR, and the gateway hear of it."""
    clock = world.emulator.state.clock
    clock.step(seconds)
    clock.skew_s += seconds
    await outcome(world, Scene(world).vaults.ListVaults, vault_pb2.ListVaultsRequest())
