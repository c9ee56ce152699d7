"""A watcher that is cut every few events gets to the end of what it has missed, whichever process
it goes on with.
"""

from collections.abc import AsyncIterator

import grpc
import pytest
from cbrgateway.v1 import task_pb2

from gateway.app import open_app
from tests.harness import World, config_for, running_gateway
from tests.watch.streams import FAST, STILL, end_task, start_task, task_of, watching

AT_ONCE = 3
"""Events that the watcher reads before it is cut."""


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
    async with (
        open_app(config_for(world.emulator.base_url, {"watch": FAST, **key})) as app,
        grpc.aio.insecure_channel(app.address) as channel,
    ):
        yield channel


async def token_now(world: World, **request) -> str:
    async with watching(world, **request) as seen:
        await seen.until("snapshot_end")
        return await seen.leave()


async def cut_again_and_again(
    world: World, token: str, missed: set[str], channels=(None,), **request
) -> list[task_pb2.WatchTasksResponse]:
    """All events that the watcher has read until it has heard of every task that it has missed.

    Only what it hears while it waits for news, from one poll, may come twice.
    """
    events: list[task_pb2.WatchTasksResponse] = []
    for number in range(2 * len(missed) // AT_ONCE):
        told = {task.id for each in events if (task := task_of(each)) is not None}
        if told >= missed:
            assert len(events) <= len(missed) + AT_ONCE
            return events
        channel = channels[number % len(channels)]
        async with watching(world, channel=channel, resume_token=token, **request) as seen:
            await seen.read(min(AT_ONCE, len(missed - told)))
        events += seen.events[:AT_ONCE]
        token = events[-1].resume_token
    raise AssertionError(f"{len(missed - told)} of {len(missed)} were never told")


def ended(events) -> list[str]:
    """The tasks whose end was told, each once, in order."""
    told = (each.terminal.task.id for each in events if each.WhichOneof("event") == "terminal")
    return list(dict.fromkeys(told))


@pytest.mark.parametrize("count", [60, 150])
async def test_ended_tasks_are_told_in_order_whatever_the_number_of_cuts(world, count):
    """150 is more than a token names."""
    token = await token_now(world)
    tasks = [start_task(world) for _ in range(count)]
    for task in reversed(tasks):
        world.emulator.state.clock.step(1)
        end_task(world, task)
    missed = [task.id for task in reversed(tasks)]
    assert ended(await cut_again_and_again(world, token, set(missed))) == missed


async def test_tasks_that_end_in_the_same_moment(world):
    token = await token_now(world)
    tasks = [start_task(world) for _ in range(150)]
    for task in tasks:
        end_task(world, task)
    missed = {task.id for task in tasks}
    assert set(ended(await cut_again_and_again(world, token, missed))) == missed


async def test_open_tasks_more_than_a_token_names(world):
    token = await token_now(world)
    missed = {start_task(world).id for _ in range(60)}
    events = await cut_again_and_again(world, token, missed)
    assert {each.WhichOneof("event") for each in events} == {"update"}


async def test_on_another_process_each_time(world, elsewhere):
    """Tasks that were open when it broke, others that have come and gone, and new ones."""
    before = [start_task(world) for _ in range(40)]
    token = await token_now(world)
    world.emulator.state.clock.step(600)
    for task in before[:20]:
        end_task(world, task)
    for _ in range(40):
        world.emulator.state.clock.step(7)
        end_task(world, start_task(world))
    new = [start_task(world) for _ in range(20)]
    log = world.emulator.state.world.tasks.log
    missed = log.keys() - {task.id for task in before[20:]}
    events = await cut_again_and_again(world, token, missed, (elsewhere, None))
    assert set(ended(events)) == missed - {task.id for task in new}


async def test_tasks_that_the_filter_names(world):
    tasks = [start_task(world) for _ in range(90)]
    wanted = {"task_ids": [task.id for task in tasks]}
    token = await token_now(world, filter=wanted)
    for task in tasks:
        world.emulator.state.clock.step(7)
        end_task(world, task)
    missed = {task.id for task in tasks}
    assert set(ended(await cut_again_and_again(world, token, missed, filter=wanted))) == missed


async def test_what_was_told_is_told_once_more_only_where_that_is_not_sure(world):
    """A task that CBR lists late, among others that were told and that the token does not name."""
    token = await token_now(world)
    late = start_task(world)
    tasks = [start_task(world) for _ in range(100)]
    for task in (late, *tasks):
        end_task(world, task)
    log = world.emulator.state.world.tasks.log
    hidden = log.pop(late.id)
    events = await cut_again_and_again(world, token, {task.id for task in tasks})
    log[late.id] = hidden
    async with watching(world, resume_token=events[-1].resume_token) as seen:
        await seen.until("terminal")
    assert late.id in ended(seen.events)
