"""How streams end, and that nothing of them is left behind."""

import asyncio
import contextlib
import dataclasses

import grpc
import pytest
from cbrgateway.v1 import quota_pb2, quota_pb2_grpc, task_pb2, task_pb2_grpc

from gateway.tenants import TenantDirectory
from tests.functional.calls import failure_of, order, until
from tests.harness import running_gateway
from tests.watch.streams import FAST, STILL, Listener, end_task, start_task, watching

ENDS = task_pb2.StreamEndReason


def left(world):
    """What streams could leave behind."""
    names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
    return "Poller.run" in names or world.app.slots.held()


async def test_a_stream_ends_shortly_before_its_deadline(world):
    start_task(world)
    async with watching(world, timeout_s=1.5) as seen:
        await seen.ended()
    assert seen.failure is None
    assert [end.reason for end in seen.of("stream_end")] == [ENDS.STREAM_END_REASON_DEADLINE]


async def test_a_stream_ends_at_its_age_and_goes_on_with_its_token():
    async with running_gateway(sections={"watch": FAST | {"lifetime_s": 0.4}}, pace=STILL) as world:
        task = start_task(world)
        async with watching(world) as seen:
            await seen.ended()
        assert (seen.kinds, seen.of("stream_end")[0].reason) == (
            ["snapshot_task", "snapshot_end", "stream_end"],
            ENDS.STREAM_END_REASON_LIFETIME,
        )
        end_task(world, task)
        async with watching(world, resume_token=seen.token) as again:
            await again.until("terminal")


async def test_on_drain_every_stream_and_wait_is_ended_in_order():
    async with running_gateway(sections={"watch": FAST}, pace=STILL) as world:
        task = start_task(world)
        stub = task_pb2_grpc.TaskServiceStub(world.channel)
        async with watching(world) as seen:
            await seen.until("snapshot_end")
            waiting = stub.WaitTask(
                task_pb2.WaitTaskRequest(task_id=task.id), metadata=world.metadata()
            )
            await until(lambda: len(world.app.hub.projects[task.project_id].subscriptions) == 2)
            await world.app.servers.drain(world.app.hub.end, world.app.client.release)
            await seen.ended()
            answer = await waiting
        end = seen.of("stream_end")[0]
        assert (end.reason, answer.done, [each.id for each in answer.tasks]) == (
            ENDS.STREAM_END_REASON_SHUTDOWN,
            False,
            [task.id],
        )
        assert 0 <= end.retry_delay.ToMilliseconds() <= 5000
        assert seen.failure is None


@contextlib.contextmanager
def configured(world, **changes):
    """The snapshot of the configuration with other parts, as after a reload."""
    before = world.app.current.snapshot
    world.app.current.snapshot = dataclasses.replace(before, **changes)
    try:
        yield
    finally:
        world.app.current.snapshot = before


async def test_a_stream_whose_caller_may_not_watch_any_more_is_ended():
    async with running_gateway(sections={"watch": FAST | {"recheck_s": 0.1}}, pace=STILL) as world:
        async with watching(world) as kept:
            await kept.until("snapshot_end")
            await asyncio.sleep(0.3)
            with configured(world, directory=TenantDirectory(())):
                await kept.ended()
        assert (kept.kinds[-1], kept.of("stream_end")[0].reason) == (
            "stream_end",
            ENDS.STREAM_END_REASON_CREDENTIALS,
        )


@pytest.mark.parametrize("phase", ["opening", "starting", "live", "told much", "outage"])
async def test_a_caller_that_goes_away_leaves_nothing_behind(world, phase):
    hub = world.app.hub
    for _ in range(50 if phase == "told much" else 1):
        start_task(world)
    if phase == "starting":
        order(world, "delay", "TaskService/ListTasks", seconds=0.5, times=None)
    if phase == "outage":
        order(world, "status", status=503, times=None)
    async with watching(world) as seen:
        if phase == "starting":
            await until(lambda: hub.projects)
        elif phase == "outage":
            await seen.until("source_status")
        elif phase != "opening":
            await seen.until("snapshot_task")
        await seen.leave()
    await until(lambda: not hub.projects)
    await until(lambda: not left(world))
    assert not hub.queues


async def test_open_streams_are_limited_and_their_places_come_back():
    limit = {"metric": "open_streams", "level": "tenant", "value": 2}
    async with running_gateway(sections={"watch": FAST, "limits": [limit]}, pace=STILL) as world:
        stub = task_pb2_grpc.TaskServiceStub(world.channel)
        task = start_task(world)
        async with watching(world) as first, watching(world) as second:
            await first.until("snapshot_end")
            await second.until("snapshot_end")
            async with watching(world) as third:
                await third.ended()
            refused = third.failure
            assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "STREAM_LIMIT")
            assert refused.details["QuotaFailure"].violations[0].quota_metric == "open_streams"
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.WaitTask(
                    task_pb2.WaitTaskRequest(task_id=task.id), metadata=world.metadata()
                )
            assert failure_of(raised.value).reason == "STREAM_LIMIT"
            async with watching(world, "databases") as other:
                await other.until("snapshot_end")
        async with watching(world, resume_token="nonsense") as refused_later:
            await refused_later.ended()
        for _ in range(3):
            async with watching(
                world, end_when_all_terminal=True, filter={"types": [task_pb2.TASK_TYPE_SYNC]}
            ) as again:
                await again.ended()
            assert again.failure is None


async def test_a_limit_stands_without_configuration(world):
    stub = quota_pb2_grpc.QuotaServiceStub(world.channel)
    limits = (
        await stub.ListLimits(quota_pb2.ListLimitsRequest(), metadata=world.metadata())
    ).limits
    assert [(limit.metric, limit.value) for limit in limits] == [
        (quota_pb2.QUOTA_METRIC_OPEN_STREAMS, 1000)
    ]


async def test_a_caller_that_does_not_read_is_ended_and_disturbs_nobody():
    """The stream is opened with a window that nobody empties; what it has not read waits once for
    each task.
    """
    async with running_gateway(sections={"watch": FAST | {"stall_s": 3}}, pace=STILL) as world:
        tasks = [start_task(world) for _ in range(400)]
        options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
        async with grpc.aio.insecure_channel(world.app.address, options=options) as channel:
            stub = task_pb2_grpc.TaskServiceStub(channel)
            stuck = stub.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata())
            await until(lambda: world.app.hub.queues)
            async with watching(world) as reader:
                await reader.until("snapshot_end")
                for task in tasks[:5]:
                    end_task(world, task)
                await reader.until("terminal", 5)
                await until(lambda: len(world.app.hub.queues) == 1, 20)
                rest = await Listener(stuck).ended()
            assert (rest.failure.code, rest.failure.reason) == ("ABORTED", "CALLER_TOO_SLOW")
            assert rest.token
