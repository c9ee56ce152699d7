"""Watching and waiting in a shared project: handlers written by hand, which the matrix does not
call.
"""

import asyncio

import grpc
from cbrgateway.v1 import options_pb2 as options
from cbrgateway.v1 import task_pb2, task_pb2_grpc

from tests.functional.calls import failure_of
from tests.isolation.tenants import nobodys

STRANGERS = ("twin", "far", "nobody")


def task_of(stocks, whose):
    return stocks[whose].ids[options.REFERS_TASK] if whose in stocks else nobodys()


async def answer(world, stocks, value):
    """What `near` is told of a task that it waits for."""
    stub = task_pb2_grpc.TaskServiceStub(world.channel)
    request = task_pb2.WaitTaskRequest(task_id=value)
    request.timeout.seconds = 10
    try:
        return await stub.WaitTask(request, metadata=stocks["near"].call.metadata)
    except grpc.aio.AioRpcError as error:
        failed = failure_of(error)
        return failed.code, failed.reason, failed.message.replace(value, "<id>")


async def test_waiting_tells_a_foreign_task_and_none_alike(world, stocks):
    own = task_of(stocks, "near")
    assert [task.id for task in (await answer(world, stocks, own)).tasks] == [own]
    told = [await answer(world, stocks, task_of(stocks, whose)) for whose in STRANGERS]
    assert told == [("NOT_FOUND", "TASK_NOT_FOUND", told[0][2])] * len(STRANGERS)


async def events(world, stocks, wanted, until):
    """The kinds of events, and all that is told, up to the first of a kind."""
    stub = task_pb2_grpc.TaskServiceStub(world.channel)
    stream = stub.WatchTasks(wanted, metadata=stocks["near"].call.metadata)
    kinds, text = [], ""
    try:
        async with asyncio.timeout(60):
            async for event in stream:
                kinds.append(event.WhichOneof("event"))
                text += str(event)
                if kinds[-1] in until:
                    break
    finally:
        stream.cancel()
    return kinds, text


async def test_a_snapshot_holds_what_is_ones_own(world, stocks):
    by_vault = [
        task_pb2.TaskFilter(vault_id=stocks[whose].ids[options.REFERS_VAULT])
        for whose in ("twin", "far")
    ]
    for chosen in (task_pb2.TaskFilter(), *by_vault):
        kinds, text = await events(
            world, stocks, task_pb2.WatchTasksRequest(filter=chosen), {"snapshot_end"}
        )
        assert kinds[-1] == "snapshot_end"
        assert not [whose for whose in ("twin", "far") if task_of(stocks, whose) in text]


async def test_watching_tells_a_foreign_task_and_none_alike(world, stocks):
    def wanted(value):
        return task_pb2.WatchTasksRequest(
            filter=task_pb2.TaskFilter(task_ids=[value]), end_when_all_terminal=True
        )

    kinds, _ = await events(world, stocks, wanted(task_of(stocks, "near")), {"stream_end"})
    assert "terminal" in kinds
    told = [
        (await events(world, stocks, wanted(task_of(stocks, whose)), {"stream_end"}))[0]
        for whose in STRANGERS
    ]
    assert told == [told[0]] * len(STRANGERS)
    assert not {"terminal", "update", "snapshot_task"} & set(told[0])
