"""Going on with a token: on the same process, on another one that has never seen the stream, and
not at all.
"""

import base64
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
from cbrgateway.v1 import task_pb2

from gateway.app import open_app
from gateway.clock import SystemClock
from gateway.watch.resume import ResumeTokens
from gateway.watch.selection import Selection, owner_of
from gateway.watch.table import Listing, Table
from tests.functional.calls import arrived, caller, until
from tests.harness import World, config_for, running_gateway
from tests.watch.streams import FAST, STILL, end_task, lose_task, start_task, watching

BACKUP = task_pb2.TASK_TYPE_BACKUP
RUNNING = task_pb2.TASK_STATUS_RUNNING
FAIL = task_pb2.GAP_POLICY_FAIL


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    file = tmp_path_factory.mktemp("key") / "key"
    file.write_text("k" * 32)
    return {"page_token_key": {"file": str(file)}}


@pytest.fixture(scope="module")
async def shared_world(key) -> AsyncIterator[World]:
    async with running_gateway(sections={"watch": FAST, **key}, pace=STILL) as world:
        yield world


@pytest.fixture
async def elsewhere(world, key) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a gateway that has just started, with the same key and no shared store."""
    async with (
        open_app(config_for(world.emulator.base_url, {"watch": FAST, **key})) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield channel


async def test_what_happened_during_the_break_is_told_on_another_process(world, elsewhere):
    kept, finished, lost, before = (start_task(world) for _ in range(4))
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        end_task(world, before)
        await seen.until("terminal")
        token = await seen.leave()
    end_task(world, finished, "failed")
    end_task(world, quick := start_task(world))
    lose_task(world, lost)
    new = start_task(world)
    async with watching(world, channel=elsewhere, resume_token=token) as again:
        await again.until("removed")
        await again.until("terminal", 2)
        await again.until("update")
        end_task(world, kept)
        await again.until("terminal", 3)
    assert again.tasks("terminal") == [finished.id, quick.id, kept.id]
    assert again.tasks("update") == [new.id]
    assert [each.task_id for each in again.of("removed")] == [lost.id]
    assert set(again.kinds) == {"terminal", "update", "removed"}


async def test_a_token_of_a_resumed_stream_goes_on_in_turn(world, elsewhere):
    task = start_task(world)
    async with watching(world, filter={"task_ids": [task.id]}) as seen:
        await seen.until("snapshot_end")
        token = await seen.leave()
    end_task(world, task)
    async with watching(
        world, channel=elsewhere, resume_token=token, filter={"task_ids": [task.id]}
    ) as second:
        await second.until("terminal")
        token = await second.leave()
    async with watching(
        world, resume_token=token, filter={"task_ids": [task.id]}, end_when_all_terminal=True
    ) as third:
        await third.ended()
    assert third.kinds == ["stream_end"]


async def test_more_open_tasks_than_a_token_holds_are_told_twice_rather_than_not(world, elsewhere):
    tasks = [start_task(world) for _ in range(100)]
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        token = await seen.leave()
    assert len(token) < 2500
    for task in tasks:
        end_task(world, task)
    async with watching(
        world, channel=elsewhere, resume_token=token, end_when_all_terminal=True
    ) as again:
        await again.ended()
    assert sorted(again.tasks("terminal")) == sorted(task.id for task in tasks)


async def test_a_task_of_long_ago_is_read_by_its_id(world, elsewhere):
    old = start_task(world)
    world.emulator.state.clock.step(7200)
    for _ in range(3):
        end_task(world, start_task(world))
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        token = await seen.leave()
    end_task(world, old)
    async with watching(world, channel=elsewhere, resume_token=token) as again:
        await again.until("terminal")
    assert again.tasks("terminal") == [old.id]


async def test_a_stream_cut_before_its_snapshot_was_whole_begins_again(world, elsewhere):
    task = start_task(world)
    async with watching(world) as seen:
        await seen.until("snapshot_task")
        token = seen.events[0].resume_token
    async with watching(world, channel=elsewhere, resume_token=token) as again:
        await again.until("snapshot_end")
    assert again.tasks("snapshot_task") == [task.id]


async def test_a_task_that_left_the_states_of_the_filter_during_the_break_is_told(world, elsewhere):
    shown, other = start_task(world), start_task(world)
    wanted = {"statuses": [task_pb2.TASK_STATUS_WAITING]}
    async with watching(world, filter=wanted) as seen:
        await seen.until("snapshot_end")
        token = await seen.leave()
    end_task(world, shown)
    end_task(world, start_task(world))
    async with watching(world, channel=elsewhere, resume_token=token, filter=wanted) as again:
        await again.until("terminal")
        end_task(world, other)
        await again.until("terminal", 2)
    assert again.tasks("terminal") == [shown.id, other.id]


# Tokens that are not good
# --------------------------------------------------------------------------------------------------


async def token_of(world, tenant="payments", **request) -> str:
    async with watching(world, tenant, **request) as seen:
        await seen.until("snapshot_end")
        return await seen.leave()


async def refusal(world, **request):
    async with watching(world, **request) as seen:
        await seen.ended()
    return seen.failure


async def test_a_token_of_another_tenant_or_filter_is_refused(world):
    for token, wanted in (
        (await token_of(world, "databases"), {}),
        (await token_of(world, filter={"types": [BACKUP]}), {}),
        (await token_of(world), {"statuses": [RUNNING]}),
    ):
        failed = await refusal(world, resume_token=token, filter=wanted)
        assert (failed.code, failed.reason, failed.fields) == (
            "INVALID_ARGUMENT",
            "RESUME_TOKEN_MISMATCH",
            ["resume_token"],
        )


async def test_an_edited_token_is_refused(world):
    token = await token_of(world)
    raw = bytearray(base64.urlsafe_b64decode(token))
    edited = [token[:-4], token + "AAAA", "", "x", "é", token[::-1]]
    for index in range(0, len(raw), 7):
        changed = bytearray(raw)
        changed[index] ^= 1
        edited.append(base64.urlsafe_b64encode(changed).decode())
    for text in filter(None, edited):
        assert (await refusal(world, resume_token=text)).reason == "RESUME_TOKEN_MISMATCH"


async def test_a_page_token_is_no_resume_token(world):
    start_task(world), start_task(world)
    page = await caller(world).ok("TaskService/ListTasks", {"page_size": 1})
    assert page.next_page_token
    assert (
        await refusal(world, resume_token=page.next_page_token)
    ).reason == "RESUME_TOKEN_MISMATCH"


def made_at(offset_s: float, key: bytes, scope: str) -> str:
    """A token that a replica made when its clock was so far from ours."""

    class Shifted(SystemClock):
        def time(self) -> float:
            return super().time() + offset_s

    table = Table(100, 0)
    table.apply([], Listing([], [], 0))
    wanted = task_pb2.TaskFilter()
    return ResumeTokens(key, Shifted(), 0, 0).make(
        owner_of(scope, wanted), Selection(wanted), table
    )


async def test_a_token_from_the_future_is_refused_and_one_too_old_means_a_gap(world):
    directory = world.app.current.snapshot.directory
    scope = f"payments/{directory.by_api_key('key-of-payments').tenant.default_project}"
    key = b"k" * 32
    failed = await refusal(world, resume_token=made_at(400, key, scope))
    assert (failed.reason, "future" in failed.message) == ("RESUME_TOKEN_MISMATCH", True)
    old = made_at(-25 * 3600, key, scope)
    failed = await refusal(world, resume_token=old, gap_policy=FAIL)
    assert (failed.code, failed.reason) == ("OUT_OF_RANGE", "RESUME_TOKEN_EXPIRED")
    task = start_task(world)
    async with watching(world, resume_token=old, include_snapshot=False) as seen:
        # What was last polled may be a little older than the task.
        await until(lambda: task.id in {*seen.tasks("snapshot_task"), *seen.tasks("update")})
        await until(lambda: "snapshot_end" in seen.kinds)
    assert seen.kinds[0] == "gap"


async def test_more_than_is_kept_means_a_gap(key):
    few = FAST | {"keep_tasks": 100}
    async with (
        running_gateway(sections={"watch": few, **key}, pace=STILL) as world,
        contextlib.AsyncExitStack() as stack,
    ):
        first = start_task(world)
        token = await token_of(world)
        end_task(world, first)
        for _ in range(450):
            world.emulator.state.clock.step(1)
            end_task(world, start_task(world))
        app = await stack.enter_async_context(
            open_app(config_for(world.emulator.base_url, {"watch": few, **key}))
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(app.address))
        async with watching(world, channel=channel, resume_token=token) as seen:
            await seen.until("snapshot_end")
        assert seen.kinds == ["gap", "snapshot_end"]
        async with watching(world, channel=channel, resume_token=token, gap_policy=FAIL) as refused:
            await refused.ended()
        assert refused.failure.reason == "RESUME_TOKEN_EXPIRED"
        await until(lambda: arrived(world))
