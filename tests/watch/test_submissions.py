"""Watching by submission: its tasks, also those that are found later, and its own states."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import msgspec
import pytest
from cbrgateway.v1 import task_pb2, task_pb2_grpc, types_pb2

from emulator.settings import PAYMENTS_PROJECT_ID
from gateway.changes.record import Note
from tests.functional import stage
from tests.functional.calls import caller, failure_of, order
from tests.harness import World, running_gateway
from tests.watch.streams import FAST, STILL, end_task, watching

RESOLVED = types_pb2.SUBMISSION_STATE_RESOLVED


@pytest.fixture(scope="module")
async def shared_world() -> AsyncIterator[World]:
    async with running_gateway(
        sections={"watch": FAST, "tasks": {"settle_s": 1}}, pace=STILL
    ) as world:
        yield world


async def backup_begun(world, resources=2):
    vault = await stage.vault(caller(world), resources)
    made = await caller(world).ok(
        "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": vault.id}}
    )
    assert made.submission.state == types_pb2.SUBMISSION_STATE_CORRELATING
    return made.submission.id


async def found_elsewhere(world, submission_id, task_ids):
    """Another replica has found the tasks of the submission."""
    operations = world.app.submissions.operations
    op = await operations.get(submission_id)
    found = {"state": int(RESOLVED), "task_ids": task_ids, "found_at": 1.0}
    note = msgspec.structs.replace(Note.of(op.note), **found)
    assert await operations.note(op.id, note.packed(), op.note)
    await world.app.submissions.claims.sync(PAYMENTS_PROJECT_ID)


def tasks_of(world):
    return list(world.emulator.state.world.tasks.log.values())


async def resolved(seen):
    """The submission once its tasks are known, whether they came before the stream or in it."""
    while (
        submission := await seen.until("submission", len(seen.of("submission")) or 1)
    ).state != RESOLVED:
        await seen.until("submission", len(seen.of("submission")) + 1)
    return submission


async def test_the_tasks_of_a_submission_are_told_as_they_are_found_until_all_have_ended(world):
    submission_id = await backup_begun(world)
    await backup_begun(world, 1)
    async with watching(
        world, filter={"submission_ids": [submission_id]}, end_when_all_terminal=True
    ) as seen:
        submission = await resolved(seen)
        assert len(submission.task_ids) == 2
        for task in tasks_of(world):
            end_task(world, task)
        await seen.ended()
    assert seen.failure is None
    assert sorted(seen.tasks("terminal")) == sorted(submission.task_ids)
    assert {
        event.terminal.task.submission_id
        for event in seen.events
        if event.WhichOneof("event") == "terminal"
    } == {submission_id}
    assert seen.of("stream_end")[0].reason == task_pb2.STREAM_END_REASON_ALL_TERMINAL


async def test_tasks_that_ended_before_it_was_known_whose_they_are_are_told(world):
    """CBR lists them late, and by then they have ended."""
    order(world, "list_lag", "TaskService/ListTasks", seconds=0.8, times=None)
    submission_id = await backup_begun(world)
    ended = tasks_of(world)
    for task in ended:
        end_task(world, task)
    async with watching(
        world, filter={"submission_ids": [submission_id]}, end_when_all_terminal=True
    ) as seen:
        await seen.ended()
    assert sorted(seen.tasks("terminal")) == sorted(task.id for task in ended)


async def test_unknown_and_foreign_submissions_are_removed(world):
    foreign = await backup_begun(world)
    async with watching(
        world,
        "databases",
        filter={"submission_ids": [foreign, "nothing"]},
        end_when_all_terminal=True,
    ) as seen:
        await seen.ended()
    assert {(each.submission_id, each.reason) for each in seen.of("removed")} == {
        (foreign, task_pb2.TASK_REMOVAL_REASON_NOT_FOUND),
        ("nothing", task_pb2.TASK_REMOVAL_REASON_NOT_FOUND),
    }
    assert seen.kinds[-1] == "stream_end"


async def test_waiting_for_a_submission_ends_when_all_of_its_tasks_have(world):
    submission_id = await backup_begun(world)
    stub = task_pb2_grpc.TaskServiceStub(world.channel)

    def wait(name, **more):
        return stub.WaitTask(
            task_pb2.WaitTaskRequest(submission_id=name, **more), metadata=world.metadata()
        )

    early = await wait(submission_id, timeout={"nanos": 100_000_000})
    assert (early.done, early.submission.id) == (False, submission_id)
    waiting = asyncio.ensure_future(wait(submission_id))
    first, second = tasks_of(world)
    end_task(world, first)
    end_task(world, second, "failed")
    answer = await waiting
    assert (answer.done, answer.submission.state, len(answer.tasks)) == (True, RESOLVED, 2)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await wait("nothing")
    assert failure_of(raised.value).reason == "SUBMISSION_NOT_FOUND"


async def test_lists_and_single_tasks_say_which_submission_started_them(world):
    submission_id = await backup_begun(world)
    async with watching(world, filter={"submission_ids": [submission_id]}) as seen:
        task_id = (await resolved(seen)).task_ids[0]
    payments = caller(world)
    assert (
        await payments.ok("TaskService/GetTask", {"task_id": task_id})
    ).task.submission_id == submission_id
    end_task(world, world.emulator.state.world.tasks.log[task_id], "failed", "BackupService.6105")
    rows = (await payments.ok("TaskService/ListTasks", {})).tasks
    assert {row.submission_id for row in rows} == {submission_id}
    assert ["VAULT_NOT_FOUND" in str(row.failure) for row in rows if row.id == task_id] == [True]


async def test_a_stream_that_is_resumed_goes_on_with_the_tasks_of_its_submission(world):
    submission_id = await backup_begun(world)
    wanted = {"submission_ids": [submission_id]}
    async with watching(world, filter=wanted) as seen:
        await seen.until("submission")
        token = await seen.leave()
    for task in tasks_of(world):
        end_task(world, task)
    async with watching(
        world, filter=wanted, resume_token=token, end_when_all_terminal=True
    ) as again:
        await again.ended()
    assert len(again.tasks("terminal")) == 2


async def test_a_stream_does_not_end_before_the_tasks_that_were_found_elsewhere_have_been_read():
    """Another replica has found the task, while this one cannot read CBR."""
    async with running_gateway(sections={"watch": FAST}, pace=STILL) as world:
        submission_id = await backup_begun(world, 1)
        order(world, "list_lag", "TaskService/ListTasks", seconds=3600, times=None)
        async with watching(
            world, filter={"submission_ids": [submission_id]}, end_when_all_terminal=True
        ) as seen:
            await seen.until("snapshot_end")
            order(world, "status", status=503, times=None)
            await seen.until("source_status")
            (task,) = tasks_of(world)
            await found_elsewhere(world, submission_id, (task.id, "gone"))
            await seen.until("submission", 2)
            end_task(world, task)
            world.emulator.state.faults.remove()
            await seen.ended()
        assert seen.tasks("terminal") == [task.id]
        assert [each.task_id for each in seen.of("removed")] == ["gone"]
        assert seen.of("stream_end")[0].reason == task_pb2.STREAM_END_REASON_ALL_TERMINAL
