"""WaitTask: a long poll for those who cannot hold a stream."""

import asyncio

import grpc
import pytest
from cbrgateway.v1 import task_pb2, task_pb2_grpc

from emulator.settings import DATABASES_PROJECT_ID
from tests.functional.calls import failure_of, order
from tests.watch.streams import end_task, start_task


def wait(world, task_id, timeout_s=10, **more):
    stub = task_pb2_grpc.TaskServiceStub(world.channel)
    return stub.WaitTask(
        task_pb2.WaitTaskRequest(task_id=task_id, **more),
        metadata=world.metadata(),
        timeout=timeout_s,
    )


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return failure_of(raised.value)


async def test_it_answers_when_the_task_is_final(world):
    task = start_task(world)
    waiting = asyncio.ensure_future(wait(world, task.id))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    end_task(world, task, "failed", "BackupService.6105")
    answer = await waiting
    assert (answer.done, answer.tasks[0].status) == (True, task_pb2.TASK_STATUS_FAILED)
    assert "VAULT_NOT_FOUND" in str(answer.tasks[0].failure)
    assert answer.tasks[0].revision > 0


async def test_it_answers_at_once_for_a_task_that_has_ended(world):
    task = start_task(world)
    end_task(world, task)
    assert (await wait(world, task.id)).done


@pytest.mark.parametrize(
    "limits", [{"timeout": {"nanos": 300_000_000}}, {"timeout_s": 0.8}, {"timeout": {}}]
)
async def test_at_its_limit_it_says_that_it_is_not_done(world, limits):
    task = start_task(world)
    assert not (await wait(world, task.id, **limits)).done


async def test_a_task_that_does_not_exist_or_is_anothers_is_not_found(world):
    foreign = start_task(world, project_id=DATABASES_PROJECT_ID)
    for task_id in (foreign.id, "nothing"):
        failed = await refused(wait(world, task_id))
        assert (failed.code, failed.reason, failed.details["ResourceInfo"].resource_name) == (
            "NOT_FOUND",
            "TASK_NOT_FOUND",
            task_id,
        )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"task_id": ""}, "task_id"),
        ({"task_id": "../x"}, "task_id"),
        ({"task_id": "t", "timeout": {"seconds": 61}}, "timeout"),
    ],
)
async def test_a_broken_request_names_its_field(world, fields, field):
    failed = await refused(wait(world, **fields))
    assert (failed.reason, failed.fields) == ("FIELD_INVALID", [field])


async def test_an_outage_is_waited_out(world):
    task = start_task(world)
    order(world, "status", status=503, times=None)
    waiting = asyncio.ensure_future(wait(world, task.id))
    await asyncio.sleep(0.5)
    world.emulator.state.faults.remove()
    end_task(world, task)
    assert (await waiting).done
