"""Submissions outlive the process, are the same on every replica, and are nobody else's."""

import asyncio
import contextlib
import time

import grpc
import pytest
from cbrgateway.v1 import task_pb2, types_pb2, vault_pb2

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from gateway.state import StoreSettings
from tests.functional.calls import asked, failure_of, until
from tests.harness import TENANTS, World, config_for
from tests.state.benches import settings_for
from tests.state.valkey_server import running_valkey
from tests.tasks.works import (
    FAST,
    IMPATIENT,
    UNLISTED,
    Scene,
    create_checkpoint,
    delete_vault,
    finish,
    gateway,
    sync_checkpoint,
)
from tests.watch.streams import watching

PROJECT, _ = TENANTS["payments"]
ASLEEP = FAST | {"correlate": False}


@contextlib.asynccontextmanager
async def opened(cloud, state, tasks):
    """One life of a gateway."""
    config = config_for(cloud.base_url, {"tasks": tasks}).model_copy(update={"state": state})
    async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
        yield World(app, cloud, channel)


async def test_a_restart_finds_what_the_life_before_did_not(tmp_path):
    state = StoreSettings(path=tmp_path / "state.db", timeout_s=5)
    async with running_emulator(pace=Pace(Mode.TIME, duration_s=3600)) as cloud:
        async with opened(cloud, state, ASLEEP) as world:
            answer, _ = await create_checkpoint(Scene(world))
            assert (
                await Scene(world).submission(answer.submission.id)
            ).state == types_pb2.SUBMISSION_STATE_CORRELATING
        async with opened(cloud, state, FAST) as world:
            found = await Scene(world).known(answer.submission.id)
            assert list(found.task_ids) == Scene(world).started("backup")
        async with opened(cloud, state, ASLEEP) as world:
            assert await Scene(world).submission(answer.submission.id) == found
            task_id, _ = found.task_ids
            ends_at = time.monotonic() + 10
            while world.app.submissions.owners.of(PROJECT, task_id) != found.id:
                assert time.monotonic() < ends_at
                await asyncio.sleep(0.05)


async def test_another_replica_shows_it_and_goes_on_with_it(tmp_path):
    with running_valkey(tmp_path) as valkey:
        state = settings_for("valkey", tmp_path, valkey)
        async with running_emulator(pace=Pace(Mode.TIME, duration_s=3600)) as cloud:
            async with opened(cloud, state, ASLEEP) as one, opened(cloud, state, FAST) as two:
                answer, _ = await create_checkpoint(Scene(one))
                assert (
                    await Scene(two).submission(answer.submission.id)
                ).state == types_pb2.SUBMISSION_STATE_CORRELATING
                named, _ = await sync_checkpoint(Scene(two))
                assert list((await Scene(one).submission(named.submission.id)).task_ids) == [
                    named.sync.task_id
                ]
            # The one that began is gone; another takes over once it can be sure of that.
            await asyncio.sleep(FAST["settle_s"])
            async with opened(cloud, state, FAST) as three:
                found = await Scene(three).known(answer.submission.id)
                assert list(found.task_ids) == Scene(three).started("backup")


async def test_submissions_are_listed_by_page_newest_first():
    async with gateway() as world:
        scene = Scene(world)
        ids = [(await sync_checkpoint(scene))[0].submission.id]
        finish(world)
        ids += [(await delete_vault(scene))[0].submission.id for _ in range(4)]
        listed, token = [], ""
        while token or not listed:
            page = await scene.call(
                scene.tasks.ListSubmissions,
                task_pb2.ListSubmissionsRequest(page_size=2, page_token=token),
            )
            listed += [row.id for row in page.submissions]
            assert page.total_size == 5
            token = page.next_page_token
        assert listed == ids[::-1]
        of_rpc = task_pb2.ListSubmissionsRequest(
            rpc="CheckpointService/SyncCheckpoint", state="SUBMISSION_STATE_RESOLVED"
        )
        assert [
            row.id for row in (await scene.call(scene.tasks.ListSubmissions, of_rpc)).submissions
        ] == ids[:1]


async def test_what_is_not_ones_own_does_not_exist():
    async with gateway() as world:
        scene = Scene(world)
        answer, _ = await sync_checkpoint(scene)
        created = await scene.vault(0)
        refusals = set()
        for who, name in (
            ("databases", answer.submission.id),
            ("databases", "nobody"),
            ("payments", "nobody"),
            ("payments", created.id),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await Scene(world, who).submission(name)
            failure = failure_of(caught.value)
            refusals.add((failure.code, failure.reason, failure.message))
        assert [(code, reason) for code, reason, _ in refusals] == [
            ("NOT_FOUND", "SUBMISSION_NOT_FOUND")
        ]
        foreign = Scene(world, "databases")
        assert not (
            await foreign.call(foreign.tasks.ListSubmissions, task_pb2.ListSubmissionsRequest())
        ).submissions


async def test_a_refused_change_started_nothing():
    async with gateway() as world:
        scene = Scene(world)
        call = scene.vaults.DeleteVault(
            vault_pb2.DeleteVaultRequest(vault_id="00000000-0000-0000-0000-000000000001"),
            metadata=scene.metadata,
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await call
        name = dict(await call.trailing_metadata())["x-request-id"]
        assert (await scene.submission(name)).state == types_pb2.SUBMISSION_STATE_NOT_STARTED


async def test_a_delete_that_leaves_no_task_is_over_once_its_object_is_gone():
    async with gateway(tasks=IMPATIENT) as world:
        scene = Scene(world)
        finish(world)
        world.emulator.state.faults.add(UNLISTED)
        answer, _ = await delete_vault(scene)
        found = await scene.known(answer.submission.id)
        assert list(found.task_ids) == []


async def test_what_is_never_listed_ends_without_tasks():
    async with gateway(tasks=IMPATIENT) as world:
        scene = Scene(world)
        world.emulator.state.faults.add(UNLISTED)
        answer, _ = await create_checkpoint(scene)
        assert list((await scene.known(answer.submission.id)).task_ids) == []


async def test_submissions_are_found_by_the_polls_that_streams_need_anyway():
    async with gateway() as world:
        scene = Scene(world)
        heard = []
        end = world.app.submissions.subscribe(
            lambda project, now: heard.append((project, now.id, now.state))
        )
        held = await scene.vault(2)
        async with watching(world) as seen:
            await seen.until("snapshot_end")
            world.emulator.state.truth.clear()
            answer = await scene.checkpoint(held.id)
            found = await scene.known(answer.submission.id)
        rows = scene.started("backup")
        looks = asked(world, "TaskService/ListTasks")
        assert 1 <= len(looks) <= 2, "the poll after the change, and one if CBR was late"
        # The store knows a moment before those who listen.
        await until(
            lambda: (
                [world.app.submissions.owners.of(PROJECT, row) for row in rows] == [found.id] * 2
            )
        )
        assert {
            (PROJECT, found.id, state) for state in (answer.submission.state, found.state)
        } <= set(heard)
        end()
