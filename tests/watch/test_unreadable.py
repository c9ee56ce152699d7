"""Tasks that CBR does not show: each is told by itself, and keeps nobody from the others."""

import asyncio

import grpc
import pytest
from cbrgateway.v1 import task_pb2, task_pb2_grpc

from emulator.routes import tasks as shown_tasks
from tests.functional.calls import arrived, failure_of, order, until
from tests.harness import running_gateway
from tests.watch.streams import FAST, STILL, end_task, start_task, watching
from tests.watch.test_endings import configured

LIST, GET = "TaskService/ListTasks", "TaskService/GetTask"
UNREADABLE = task_pb2.TASK_REMOVAL_REASON_UNREADABLE
ALL_TERMINAL = task_pb2.STREAM_END_REASON_ALL_TERMINAL
REFUSALS = {
    "403": ({"kind": "status", "status": 403}, "PERMISSION_DENIED"),
    "401": ({"kind": "status", "status": 401}, "INTERNAL"),
}
"""Faults of one task that repeating does not mend, and the code that is told."""
ANOTHER = {
    "id": "another",
    "status": "success",
    "created_at": "2026-01-01T00:00:00.000000",
    "updated_at": "2026-01-01T00:00:00.000000",
}
TROUBLES = {
    "500": (
        {"kind": "status", "status": 500, "body": {"error_code": "X", "error_msg": "x"}},
        "INTERNAL",
    ),
    "503": ({"kind": "status", "status": 503}, "UNAVAILABLE"),
    "no answer": ({"kind": "cut"}, "UNAVAILABLE"),
    "not JSON": ({"kind": "raw", "body": "<html>"}, "INTERNAL"),
    "another shape": (
        {"kind": "raw", "body": {"operation_log": {"id": "x", "created_at": 7}}},
        "INTERNAL",
    ),
    "another task": ({"kind": "raw", "body": {"operation_log": ANOTHER}}, "INTERNAL"),
}
"""Faults of one task that may pass."""
FAULTS = REFUSALS | TROUBLES


def broken(world, task_id, fault):
    rest = {**FAULTS[fault][0]}
    order(world, rest.pop("kind"), GET, on=task_id, times=None, **rest)


def unlisted(world):
    """A task of long ago. No list shows it, nor any other."""
    order(world, "list_lag", LIST, seconds=1e4, times=None)
    task = start_task(world)
    end_task(world, task)
    return task.id


def code_of(failure):
    return grpc.StatusCode[FAULTS[failure][1]].value[0]


@pytest.mark.parametrize("fault", FAULTS)
async def test_of_two_named_tasks_the_one_that_cannot_be_read_is_told_and_the_other_followed(
    world, fault
):
    live, old = start_task(world), unlisted(world)
    broken(world, old, fault)
    async with watching(
        world, filter={"task_ids": [old, live.id]}, end_when_all_terminal=True
    ) as seen:
        await seen.until("snapshot_end")
        end_task(world, live)
        await seen.until("terminal")
        await seen.ended()
    statuses, (removed,) = seen.of("source_status"), seen.of("removed")
    assert [(status.healthy, status.task_id, status.failure.code) for status in statuses] == [
        (False, old, code_of(fault))
    ]
    assert (removed.task_id, removed.reason, removed.failure.code) == (
        old,
        UNREADABLE,
        code_of(fault),
    )
    assert (seen.tasks("terminal"), seen.of("stream_end")[0].reason) == ([live.id], ALL_TERMINAL)


@pytest.mark.parametrize("status", [400, 404])
async def test_a_task_that_does_not_exist_is_removed_while_another_is_unreadable(world, status):
    broken(world, "old", "403")
    order(world, "status", GET, on="never", status=status, times=None)
    async with watching(
        world, filter={"task_ids": ["old", "never"]}, end_when_all_terminal=True
    ) as seen:
        await seen.ended()
    reasons = {each.task_id: each.reason for each in seen.of("removed")}
    assert reasons == {"old": UNREADABLE, "never": task_pb2.TASK_REMOVAL_REASON_NOT_FOUND}


async def test_a_task_that_is_not_answered_delays_nobody(world):
    live = start_task(world)
    order(world, "delay", GET, on="old", seconds=60, times=None)
    async with watching(world, filter={"task_ids": ["old", live.id]}) as seen:
        await seen.until("snapshot_end", within_s=6)
        end_task(world, live)
        await seen.until("terminal")
        status = await seen.until("source_status")
    assert (status.healthy, status.task_id, status.failure.code) == (False, "old", 14)


async def test_many_unreadable_tasks_delay_nobody(world):
    """More than are read in one poll, and asked for first."""
    live = start_task(world)
    order(world, "list_lag", LIST, seconds=3600, times=None)
    names = [f"old-{number}" for number in range(99)]
    for name in names:
        # Counts for no breaker.
        order(world, "status", GET, on=name, status=409, times=None)
    async with watching(world, filter={"task_ids": [*names, live.id]}) as seen:
        await seen.until("snapshot_end")
        end_task(world, live)
        await seen.until("terminal")
    assert {status.task_id for status in seen.of("source_status")} <= set(names)


async def test_an_open_task_that_cannot_be_read_any_more_keeps_no_stream_from_the_others(world):
    old = start_task(world)
    world.emulator.state.clock.step(7200)
    end_task(world, start_task(world))
    async with watching(world) as seen, watching(world, filter={"vault_id": "other"}) as elsewhere:
        await seen.until("snapshot_end")
        await elsewhere.until("snapshot_end")
        broken(world, old.id, "403")
        removed = await seen.until("removed")
        live = start_task(world)
        end_task(world, live)
        await seen.until("terminal")
        world.emulator.state.faults.remove()
    assert (removed.task_id, removed.reason) == (old.id, UNREADABLE)
    assert [status.task_id for status in seen.of("source_status")] == [old.id]
    assert seen.tasks("terminal") == [live.id]
    assert elsewhere.kinds == ["snapshot_end"]


async def test_a_stream_over_all_tasks_ends_although_one_of_them_cannot_be_read(world):
    old = start_task(world)
    world.emulator.state.clock.step(7200)
    end_task(world, start_task(world))
    async with watching(world, end_when_all_terminal=True) as seen:
        await seen.until("snapshot_end")
        broken(world, old.id, "403")
        await seen.ended()
    assert seen.of("stream_end")[0].reason == ALL_TERMINAL


async def test_a_stream_that_is_resumed_is_told_of_the_task_that_it_cannot_go_on_with(world):
    old, live = start_task(world), start_task(world)
    world.emulator.state.clock.step(7200)
    end_task(world, start_task(world))
    for wanted in ({}, {"task_ids": [old.id, live.id]}):
        async with watching(world, filter=wanted) as seen:
            await seen.until("snapshot_end")
            token = await seen.leave()
        await until(lambda: not world.app.hub.projects)
        broken(world, old.id, "403")
        async with watching(world, filter=wanted, resume_token=token) as again:
            status = await again.until("source_status")
            removed = await again.until("removed")
            fresh = start_task(world, vault_id="v2")
            if not wanted:
                await again.until("update")
        assert (status.task_id, removed.task_id, removed.reason) == (old.id, old.id, UNREADABLE)
        end_task(world, fresh)
        world.emulator.state.faults.remove()
        await until(lambda: not world.app.hub.projects)


async def test_a_task_that_can_be_read_again_is_told_and_followed(world):
    old = start_task(world)
    world.emulator.state.clock.step(7200)
    end_task(world, start_task(world))
    order(world, "list_lag", LIST, seconds=1e4, times=None)
    order(world, "status", GET, on=old.id, status=500, times=None)
    async with watching(world, filter={"task_ids": [old.id]}) as seen:
        await seen.until("source_status")
        world.emulator.state.faults.remove()
        order(world, "list_lag", LIST, seconds=1e4, times=None)
        assert (await seen.until("source_status", 2)).healthy
        end_task(world, old)
        await seen.until("terminal")
    assert {status.task_id for status in seen.of("source_status")} == {old.id}


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 403},
        {"kind": "status", "status": 404},
        {"kind": "status", "status": 500},
        {"kind": "garbage"},
    ],
)
async def test_named_tasks_are_followed_where_the_list_cannot_be_read(world, fault):
    live = start_task(world)
    rest = {**fault}
    order(world, rest.pop("kind"), LIST, times=None, **rest)
    async with (
        watching(world, filter={"task_ids": [live.id]}, end_when_all_terminal=True) as seen,
        watching(world) as all_of_them,
    ):
        await seen.until("snapshot_end")
        assert not (await all_of_them.until("source_status")).healthy
        end_task(world, live)
        await seen.ended()
    assert seen.kinds[-2:] == ["terminal", "stream_end"]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "delay", "seconds": 600},
        {"kind": "drip", "chunk_bytes": 1, "seconds": 60},
        {"kind": "status", "status": 429, "headers": {"Retry-After": "600"}},
    ],
    ids=["hangs", "drips", "is put off"],
)
async def test_named_tasks_are_followed_where_the_list_does_not_come(fault, monkeypatch):
    monkeypatch.setattr("gateway.upstream.reads.READ_CAP_S", 600.0)
    monkeypatch.setattr("gateway.upstream.retry.MAX_ATTEMPT_S", 600.0)
    async with running_gateway(sections={"watch": FAST}, pace=STILL) as world:
        live = start_task(world)
        broken(world, "old", "403")
        rest = {**fault}
        order(world, rest.pop("kind"), LIST, times=None, **rest)
        async with watching(
            world, filter={"task_ids": ["old", live.id]}, end_when_all_terminal=True
        ) as seen:
            await seen.until("snapshot_end")
            waiting = asyncio.ensure_future(wait(world, live.id, 60, timeout={"seconds": 50}))
            end_task(world, live)
            await seen.ended()
            assert (await waiting).done
        assert [each.task_id for each in seen.of("removed")] == ["old"]


def misspelt(monkeypatch, *task_ids):
    """From now on CBR shows these tasks without their status."""
    real = shown_tasks.task_view

    def shown(world, task):
        row = real(world, task)
        return row | {"status": None} if task.id in task_ids else row

    monkeypatch.setattr(shown_tasks, "task_view", shown)


async def test_a_row_that_cannot_be_understood_keeps_nobody_from_the_others(world, monkeypatch):
    live, strange = start_task(world), start_task(world)
    misspelt(monkeypatch, strange.id)
    async with (
        watching(world) as seen,
        watching(
            world, filter={"task_ids": [strange.id, live.id]}, end_when_all_terminal=True
        ) as named,
    ):
        status = await seen.until("source_status")
        end_task(world, live)
        await seen.until("terminal")
        await named.ended()
        monkeypatch.undo()
        assert (await seen.until("source_status", 2)).healthy
        await seen.until("update")
    assert (status.healthy, status.task_id, status.failure.code) == (False, strange.id, 13)
    assert (seen.tasks("terminal"), seen.tasks("update")) == ([live.id], [strange.id])
    assert (named.tasks("terminal"), [each.task_id for each in named.of("removed")]) == (
        [live.id],
        [strange.id],
    )


async def test_a_project_that_is_not_served_any_more_is_told(world):
    live = start_task(world)
    async with watching(world, filter={"task_ids": [live.id]}) as seen:
        await seen.until("snapshot_end")
        with configured(world, accounts={}):
            status = await seen.until("source_status")
    assert (status.healthy, status.failure.code) == (False, 7)


# Submissions and WaitTask
# --------------------------------------------------------------------------------------------------


async def test_of_the_tasks_of_a_submission_each_is_told_by_itself():
    from tests.watch.test_submissions import backup_begun, found_elsewhere  # noqa: PLC0415

    async with running_gateway(sections={"watch": FAST}, pace=STILL) as world:
        order(world, "list_lag", LIST, seconds=3600, times=None)
        submission_id = await backup_begun(world, 1)
        (live,) = world.emulator.state.world.tasks.log.values()
        broken(world, "old", "403")
        async with watching(
            world, filter={"submission_ids": [submission_id]}, end_when_all_terminal=True
        ) as seen:
            await seen.until("snapshot_end")
            await found_elsewhere(world, submission_id, ("old", live.id))
            end_task(world, live)
            await seen.until("terminal")
            await seen.ended()
        assert [(each.task_id, each.reason) for each in seen.of("removed")] == [("old", UNREADABLE)]


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


@pytest.mark.parametrize("fault", FAULTS)
async def test_waiting_for_a_task_that_cannot_be_read_is_never_answered_with_ok(world, fault):
    old = unlisted(world)
    broken(world, old, fault)
    failed = await refused(wait(world, old, timeout={"seconds": 5}))
    assert (failed.code, failed.details["ResourceInfo"].resource_name) == (FAULTS[fault][1], old)


async def test_waiting_through_an_outage_is_not_answered_with_ok(world):
    task = start_task(world)
    order(world, "status", status=503, times=None)
    assert (
        await refused(wait(world, task.id, timeout={"seconds": 1}))
    ).reason == "UPSTREAM_UNAVAILABLE"


async def test_waiting_in_a_project_that_is_not_served_any_more_is_refused_at_once(world):
    task = start_task(world)
    waiting = asyncio.ensure_future(wait(world, task.id))
    await until(lambda: arrived(world, LIST))
    with configured(world, accounts={}):
        assert (await refused(waiting)).reason == "PROJECT_DENIED"


@pytest.mark.parametrize("bad", [0, 1, 2])
async def test_wherever_in_the_list_a_row_without_an_id_stands_the_other_tasks_are_told(
    world, monkeypatch, bad
):
    tasks, real = [start_task(world) for _ in range(3)], shown_tasks.task_view
    monkeypatch.setattr(
        shown_tasks,
        "task_view",
        lambda of, task: real(of, task) | ({"id": ""} if task.id == tasks[bad].id else {}),
    )
    async with watching(world) as seen:
        await seen.until("snapshot_end")
    assert set(seen.tasks("snapshot_task")) == {task.id for task in tasks} - {tasks[bad].id}
    assert seen.of("source_status") == seen.of("removed") == []


@pytest.mark.parametrize("bad", [0, 1, 2])
async def test_wherever_in_the_list_a_row_without_a_status_stands_the_other_tasks_are_told(
    world, monkeypatch, bad
):
    tasks = [start_task(world) for _ in range(3)]
    misspelt(monkeypatch, tasks[bad].id)
    async with watching(world) as seen:
        await seen.until("snapshot_end")
    assert set(seen.tasks("snapshot_task")) == {task.id for task in tasks} - {tasks[bad].id}
