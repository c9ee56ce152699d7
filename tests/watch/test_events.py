"""What a stream tells of tasks, from the snapshot to the end."""

import pytest
from cbrgateway.v1 import task_pb2

from emulator.settings import DATABASES_PROJECT_ID
from tests.functional.calls import arrived
from tests.watch.streams import end_task, lose_task, start_task, watching

BACKUP, RESTORE = task_pb2.TASK_TYPE_BACKUP, task_pb2.TASK_TYPE_RESTORE
WAITING, RUNNING, FAILED = (
    task_pb2.TASK_STATUS_WAITING,
    task_pb2.TASK_STATUS_RUNNING,
    task_pb2.TASK_STATUS_FAILED,
)


async def test_a_stream_begins_with_the_open_tasks_and_goes_on_with_what_changes(world):
    first, second = start_task(world), start_task(world)
    end_task(world, start_task(world))
    async with watching(world) as seen:
        assert (await seen.until("snapshot_end")).task_count == 2
        assert seen.tasks("snapshot_task") == [first.id, second.id]
        third = start_task(world)
        await seen.until("update")
        end_task(world, first)
        ended = await seen.until("terminal")
        assert (seen.tasks("update"), ended.task.id, ended.task.status) == (
            [third.id],
            first.id,
            task_pb2.TASK_STATUS_SUCCEEDED,
        )
    assert set(seen.kinds) == {"snapshot_task", "snapshot_end", "update", "terminal"}


async def test_without_a_snapshot_only_changes_come(world):
    task = start_task(world)
    async with watching(world, include_snapshot=False) as seen:
        assert (await seen.until("snapshot_end")).task_count == 0
        start_task(world)
        await seen.until("update")
        end_task(world, task)
        await seen.until("terminal")
    assert seen.kinds == ["snapshot_end", "update", "terminal"]


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        ("success", "", ""),
        ("failed", "BackupService.6105", "VAULT_NOT_FOUND"),
        ("timeout", "", "UPSTREAM_INTERNAL"),
        ("skipped", "BackupService.0000", "STATE_INVALID"),
    ],
)
async def test_every_way_to_end_is_terminal(world, status, code, reason):
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        # It begins and ends between two polls.
        end_task(world, start_task(world), status, code)
        task = (await seen.until("terminal")).task
    assert seen.kinds == ["snapshot_end", "terminal"]
    assert task.HasField("failure") is bool(reason)
    assert reason in str(task.failure)


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"types": [RESTORE]}, [1]),
        ({"types": [BACKUP, RESTORE], "vault_id": "v1"}, [0, 1]),
        ({"vault_id": "v2"}, [2]),
        ({"resource_id": "r2"}, [2]),
        ({"statuses": [WAITING], "vault_id": "v1"}, [0, 1]),
        ({"statuses": [FAILED]}, []),
    ],
)
async def test_a_filter_keeps_other_tasks_out(world, wanted, shown):
    tasks = [
        start_task(world),
        start_task(world, "restore"),
        start_task(world, vault_id="v2", resource_id="r2"),
    ]
    start_task(world, project_id=DATABASES_PROJECT_ID)
    async with watching(world, filter=wanted) as seen:
        await seen.until("snapshot_end")
    assert seen.tasks("snapshot_task") == [tasks[index].id for index in shown]


async def test_a_task_that_leaves_the_states_of_the_filter_is_sent_once_more(world):
    task, other = start_task(world), start_task(world)
    async with watching(world, filter={"statuses": [WAITING]}) as seen:
        await seen.until("snapshot_end")
        end_task(world, task)
        end_task(world, start_task(world))
        end_task(world, other, "failed")
        await seen.until("terminal", 2)
    assert seen.tasks("terminal") == [task.id, other.id]


async def test_named_tasks_are_told_whatever_has_become_of_them(world):
    opened, ended = start_task(world), start_task(world)
    end_task(world, ended)
    start_task(world)
    async with watching(
        world, filter={"task_ids": [opened.id, ended.id, "nothing"]}, end_when_all_terminal=True
    ) as seen:
        removed = await seen.until("removed")
        assert (removed.task_id, removed.reason) == (
            "nothing",
            task_pb2.TASK_REMOVAL_REASON_NOT_FOUND,
        )
        assert (seen.tasks("snapshot_task"), seen.tasks("terminal")) == ([opened.id], [ended.id])
        end_task(world, opened)
        await seen.ended()
    assert seen.kinds[-2:] == ["terminal", "stream_end"]
    assert seen.of("stream_end")[0].reason == task_pb2.STREAM_END_REASON_ALL_TERMINAL


async def test_a_stream_without_ids_ends_once_no_matching_task_is_open(world):
    task = start_task(world)
    start_task(world, "restore")
    async with watching(world, filter={"types": [BACKUP]}, end_when_all_terminal=True) as seen:
        await seen.until("snapshot_end")
        end_task(world, task)
        await seen.ended()
    assert seen.kinds == ["snapshot_task", "snapshot_end", "terminal", "stream_end"]


async def test_a_task_that_is_not_there_any_more_is_told_as_removed(world):
    task = start_task(world)
    async with watching(world, end_when_all_terminal=True) as seen:
        await seen.until("snapshot_end")
        lose_task(world, task)
        removed = await seen.until("removed")
        await seen.ended()
    assert (removed.task_id, removed.reason) == (task.id, task_pb2.TASK_REMOVAL_REASON_GONE)


async def test_another_tenants_task_is_as_unknown_as_none(world):
    foreign = start_task(world, project_id=DATABASES_PROJECT_ID)
    async with watching(world, filter={"task_ids": [foreign.id]}) as seen:
        assert (await seen.until("removed")).task_id == foreign.id
        await seen.until("snapshot_end")
    assert seen.kinds == ["removed", "snapshot_end"]


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"filter": {"task_ids": [f"t{index}" for index in range(101)]}}, "filter.task_ids"),
        (
            {"filter": {"submission_ids": [f"s{index}" for index in range(101)]}},
            "filter.submission_ids",
        ),
        ({"filter": {"task_ids": ["a", "a"]}}, "filter.task_ids"),
        ({"filter": {"task_ids": ["a", "../b"]}}, "filter.task_ids[1]"),
        ({"filter": {"task_ids": ["a"], "submission_ids": ["b"]}}, "filter"),
        ({"filter": {"statuses": [99]}}, "filter.statuses[0]"),
        ({"heartbeat_interval": {"seconds": 4}}, "heartbeat_interval"),
        ({"heartbeat_interval": {"seconds": 61}}, "heartbeat_interval"),
        ({"gap_policy": 99}, "gap_policy"),
        ({"resume_token": "x" * 16385}, "resume_token"),
    ],
)
async def test_a_broken_request_names_its_field(world, request_fields, field):
    async with watching(world, **request_fields) as seen:
        await seen.ended()
    assert (seen.failure.code, seen.failure.reason, seen.failure.fields) == (
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        [field],
    )
    assert arrived(world) == []
