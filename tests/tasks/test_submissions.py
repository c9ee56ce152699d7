"""Every asynchronous change leads to a submission with its tasks and no others.

The emulator's own list of tasks is the oracle.
"""

import asyncio

import grpc
import pytest
from cbrgateway.v1 import checkpoint_pb2, task_pb2, types_pb2, vault_pb2

from gateway.app import open_app
from gateway.operations import load_catalog
from tests.functional.calls import failure_of
from tests.harness import World, config_for
from tests.tasks.works import (
    UNLISTED,
    WORKS,
    Scene,
    create_checkpoint,
    delete_backup,
    gateway,
    replicate_backup,
    replicate_checkpoint,
    sync_backups,
    sync_checkpoint,
)

UNSURE = {
    "CopyBackup": (replicate_backup, "replication"),
    "CopyCheckpoint": (replicate_checkpoint, "replication"),
    "CreateCheckpoint": (create_checkpoint, "backup"),
    "DeleteBackup": (delete_backup, "delete"),
    "ImportBackup": (sync_backups, "sync"),
    "ImportCheckpoint": (sync_checkpoint, "sync"),
}
"""The vendor's operation of a change whose answer gets lost, and what it starts."""


def free_again(world):
    """The emulator forgets what its tasks work on, so that it starts another one for the same
    object, as the cloud may.
    """
    for task in world.emulator.state.world.tasks.log.values():
        task.subjects = frozenset()


def test_every_asynchronous_rpc_has_a_rule_and_a_test():
    assert {binding.rpc for binding in load_catalog() if binding.asynchronous} == WORKS.keys()


@pytest.mark.parametrize("rpc", WORKS)
async def test_a_change_leads_to_its_tasks(rpc):
    async with gateway() as world:
        scene = Scene(world)
        answer, kind = await WORKS[rpc](scene)
        assert (answer.submission.rpc, answer.submission.upstream_request_id != "") == (rpc, True)
        found = await scene.known(answer.submission.id)
        assert list(found.task_ids) == scene.started(kind) != []
        assert (found.id, found.accept_time) == (
            answer.submission.id,
            answer.submission.accept_time,
        )


async def test_a_named_task_is_known_at_once_and_others_are_found():
    async with gateway() as world:
        scene = Scene(world)
        named, _ = await sync_checkpoint(scene)
        assert (named.submission.state, list(named.submission.task_ids)) == (
            types_pb2.SUBMISSION_STATE_RESOLVED,
            [named.sync.task_id],
        )
        found, _ = await create_checkpoint(scene)
        assert (found.submission.state, list(found.submission.task_ids)) == (
            types_pb2.SUBMISSION_STATE_CORRELATING,
            [],
        )


async def test_skipped_resources_are_told_and_nothing_started_is_said_so():
    async with gateway() as world:
        scene = Scene(world)
        held = await scene.vault(2)
        first, second = held.resources
        one = await scene.checkpoint(
            held.id, parameters={"resource_details": [{"id": first.id, "type": first.type}]}
        )
        both = await scene.checkpoint(held.id)
        assert [each.id for each in both.submission.skipped_resources] == [first.id]
        found = await scene.known(both.submission.id)
        (mine,) = found.task_ids
        assert world.emulator.state.world.tasks.log[mine].resource["id"] == second.id
        assert list(found.skipped_resources) == list(both.submission.skipped_resources)
        none = await scene.checkpoint(held.id)
        assert none.submission.state == types_pb2.SUBMISSION_STATE_NOT_STARTED
        assert {each.code for each in none.submission.skipped_resources} == {"BackupService.6125"}
        assert (await scene.known(one.submission.id)).task_ids != found.task_ids


async def test_many_checkpoints_of_one_vault_at_once_each_get_their_own():
    async with gateway() as world:
        scene = Scene(world)
        held = await scene.vault(4)

        async def one(resource):
            return await scene.checkpoint(
                held.id,
                parameters={"resource_details": [{"id": resource.id, "type": resource.type}]},
            )

        answers = await asyncio.gather(*map(one, held.resources))
        for answer in answers:
            (task_id,) = (await scene.known(answer.submission.id)).task_ids
            assert (
                world.emulator.state.world.tasks.log[task_id].checkpoint_id == answer.checkpoint.id
            )


async def test_what_cannot_be_told_apart_is_ambiguous():
    """Somebody else removes the same resource at the same time, past this gateway."""
    async with gateway() as world:
        scene = Scene(world)
        held = await scene.vault(1)
        request = vault_pb2.RemoveVaultResourcesRequest(
            vault_id=held.id, resource_ids=[held.resources[0].id]
        )
        world.emulator.state.faults.add(UNLISTED)
        answer = await scene.call(scene.vaults.RemoveVaultResources, request)
        free_again(world)
        async with (
            open_app(config_for(world.emulator.base_url)) as app,
            grpc.aio.insecure_channel(app.address) as channel,
        ):
            console = Scene(World(app, world.emulator, channel))
            await console.call(console.vaults.RemoveVaultResources, request)
        world.emulator.state.faults.remove()
        found = await scene.known(answer.submission.id, state="AMBIGUOUS")
        assert list(found.task_ids) == scene.started("remove_resource")
        assert len(found.task_ids) == 2


async def test_two_changes_that_look_alike_are_never_confused():
    async with gateway() as world:
        scene = Scene(world)
        held = await scene.vault(1)
        request = vault_pb2.RemoveVaultResourcesRequest(
            vault_id=held.id, resource_ids=[held.resources[0].id]
        )
        world.emulator.state.faults.add(UNLISTED)
        first = await scene.call(scene.vaults.RemoveVaultResources, request)
        free_again(world)
        second = await scene.call(scene.vaults.RemoveVaultResources, request)
        world.emulator.state.faults.remove()
        for answer in (first, second):
            found = await scene.known(answer.submission.id, state="AMBIGUOUS")
            assert list(found.task_ids) == scene.started("remove_resource")


async def test_a_task_that_was_found_before_a_change_is_not_that_changes():
    async with gateway() as world:
        scene = Scene(world)
        held = await scene.vault(1)
        request = vault_pb2.RemoveVaultResourcesRequest(
            vault_id=held.id, resource_ids=[held.resources[0].id]
        )
        first = await scene.call(scene.vaults.RemoveVaultResources, request)
        earlier = await scene.known(first.submission.id)
        free_again(world)
        second = await scene.call(scene.vaults.RemoveVaultResources, request)
        later = await scene.known(second.submission.id)
        assert [*earlier.task_ids, *later.task_ids] == scene.started("remove_resource")


async def test_a_replay_gives_the_same_bytes_and_the_same_submission():
    async with gateway() as world:
        scene = Scene(world)
        request = checkpoint_pb2.CreateCheckpointRequest(
            checkpoint={"vault_id": (await scene.vault()).id}, request_id="r-1"
        )
        first = await scene.call(scene.checkpoints.CreateCheckpoint, request)
        await scene.known(first.submission.id)
        again = await scene.call(scene.checkpoints.CreateCheckpoint, request)
        assert again.SerializeToString() == first.SerializeToString()
        assert len(scene.started("backup")) == 1
        listed = await scene.call(
            scene.tasks.ListSubmissions, task_pb2.ListSubmissionsRequest(request_id="r-1")
        )
        assert [row.id for row in listed.submissions] == [first.submission.id]


@pytest.mark.parametrize(
    ("when", "state"), [("after_commit", "RESOLVED"), ("before_commit", "NOT_STARTED")]
)
@pytest.mark.parametrize("operation", UNSURE)
async def test_an_unknown_outcome_is_settled_into_its_tasks(operation, when, state):
    async with gateway() as world:
        scene = Scene(world)
        work, kind = UNSURE[operation]
        world.emulator.state.faults.add(
            {"kind": "cut", "when": when, "match": {"operation": operation}, "times": None}
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await work(scene)
        failure = failure_of(caught.value)
        assert failure.reason == "OUTCOME_UNKNOWN"
        found = await scene.known(failure.facts["submission"], state=state)
        assert list(found.task_ids) == (scene.started(kind) if state == "RESOLVED" else [])
