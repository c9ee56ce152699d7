"""The end of each task is known and told once, whoever started it and whoever watches."""

import asyncio
import contextlib

import grpc

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from gateway.app import open_app
from gateway.state import StoreDown, StoreSettings
from tests.functional.calls import order, until
from tests.harness import World, config_for
from tests.state.benches import settings_for
from tests.state.valkey_server import running_valkey
from tests.tasks.works import FAST, Scene, create_checkpoint, finish, gateway
from tests.watch.streams import STILL, end_task, lose_task, start_task

WATCH = {"busy_s": 0.1, "idle_s": 0.2, "backoff_s": 0.3, "follow": "always"}
SLOW = Pace(Mode.TIME, duration_s=3600)


@contextlib.asynccontextmanager
async def life(cloud, state, told, follow="always", busy_s=WATCH["busy_s"]):
    """One life of a gateway; `told` gets (task, outcome, caught up) of each end."""
    watch = WATCH | {"follow": follow, "busy_s": busy_s, "idle_s": max(busy_s, WATCH["idle_s"])}
    sections = {"watch": watch, "tasks": FAST, "quota": {"markers": False}}
    config = config_for(cloud.base_url, sections).model_copy(update={"state": state})

    async def tell(end):
        told.append((end.task.id, end.facts.outcome, end.caught_up))

    async with open_app(config) as app, grpc.aio.insecure_channel(app.address) as channel:
        app.ends.listeners.append(tell)
        yield World(app, cloud, channel)


def polled(world):
    """Whether each project has been polled, and it is kept how far ends are told."""
    tracker = world.app.submissions.tracker
    return all(
        project in tracker._ends and tracker._ends[project]._stored
        for project in tracker.projects()
    )


async def test_work_that_nobody_watches_and_no_caller_began_is_told_when_it_ends(tmp_path):
    told, state = [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=STILL) as cloud, life(cloud, state, told) as world:
        await until(lambda: polled(world))
        tasks = [start_task(world) for _ in range(3)]
        for task, status in zip(tasks, ("success", "failed", "timeout"), strict=True):
            end_task(world, task, status)
        wanted = {
            (task.id, status, False)
            for task, status in zip(tasks, ("succeeded", "failed", "timed_out"), strict=True)
        }
        await until(lambda: set(told) == wanted)
    assert len(told) == 3


async def test_what_ended_while_no_gateway_ran_is_told_by_the_next(tmp_path):
    """Also what was begun meanwhile; what was told before is not told again."""
    told, state = [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=STILL) as cloud:
        async with life(cloud, state, told) as world:
            await until(lambda: polled(world))
            before, during = start_task(world), start_task(world)
            end_task(world, before)
            await until(lambda: told)
            tracker = world.app.submissions.tracker
            await until(lambda: during.id in tracker._ends[during.project_id]._cursor.opened)
        end_task(world, during, "failed")
        end_task(world, between := start_task(world), "failed")
        await asyncio.sleep(3 * WATCH["idle_s"])
        async with life(cloud, state, again := []) as world:
            await until(lambda: len(again) == 2)
            end_task(world, after := start_task(world))
            await until(lambda: len(again) == 3)
    assert told == [(before.id, "succeeded", False)]
    assert set(again[:2]) == {(during.id, "failed", True), (between.id, "failed", True)}
    assert again[2][:2] == (after.id, "succeeded")


async def test_an_end_that_could_not_be_kept_is_told_again(tmp_path):
    told, state = [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=STILL) as cloud, life(cloud, state, told) as world:
        await until(lambda: polled(world))
        left = iter([OSError("the disk is full"), RuntimeError("twice")])

        async def fails(_end):
            if (error := next(left, None)) is not None:
                raise error

        world.app.ends.listeners.insert(0, fails)
        end_task(world, task := start_task(world))
        await until(lambda: told)
        await asyncio.sleep(2 * WATCH["idle_s"])
    assert told == [(task.id, "succeeded", False)]


async def test_ends_of_one_vault_are_told_in_order_and_those_of_one_moment_by_their_ids(tmp_path):
    """By one order to all who hear of them, also where it takes long to tell the first."""
    told, state = [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=STILL) as cloud, life(cloud, state, told) as world:
        await until(lambda: polled(world))
        left = 6

        async def slowly(_end):
            nonlocal left
            left -= 1
            await asyncio.sleep(0.05 * left)

        world.app.ends.listeners.insert(0, slowly)
        tasks = [start_task(world) for _ in range(6)]
        later = tasks.pop()
        for task in [later, *tasks]:
            end_task(world, task)
            task.ended_at = task.updated_at = tasks[0].ended_at
        later.ended_at = later.updated_at = tasks[0].ended_at + 0.01
        await until(lambda: len(told) == 6)
    assert [each[0] for each in told] == [*sorted(task.id for task in tasks), later.id]


async def test_replicas_tell_each_end_once(tmp_path):
    told = []
    with running_valkey(tmp_path) as valkey:
        state = settings_for("valkey", tmp_path, valkey)
        async with (
            running_emulator(pace=STILL) as cloud,
            # The turn of a busy machine must not be over while it tells what it has read.
            life(cloud, state, told, busy_s=1) as one,
            life(cloud, state, told, busy_s=1) as two,
        ):
            await until(lambda: polled(one) and polled(two))
            ids = []
            for _ in range(5):
                end_task(one, task := start_task(one))
                ids.append(task.id)
                await until(lambda: len(told) >= len(ids))
            await asyncio.sleep(3)
    assert sorted(task_id for task_id, *_ in told) == sorted(ids)


async def test_where_only_watched_projects_are_polled_the_work_of_calls_is_told_all_the_same(
    tmp_path,
):
    """Also after a restart; and then nobody polls any more."""
    told, state = [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=SLOW) as cloud:
        async with life(cloud, state, [], "watched") as world:
            answer, _ = await create_checkpoint(Scene(world))
            found = await Scene(world).known(answer.submission.id)
        async with life(cloud, state, told, "watched") as world:
            finish(world)
            await until(lambda: len(told) == 2)
            await until(lambda: not world.app.submissions.tracker._polled)
    assert {task_id for task_id, *_ in told} == set(found.task_ids)


async def test_a_task_is_told_with_the_change_that_began_it():
    """Also where it has ended before it is known whose it is."""
    async with gateway(watch=WATCH) as world:
        ended = []

        async def tell(end):
            ended.append(end)

        world.app.ends.listeners.append(tell)
        finish(world)
        answer, _ = await create_checkpoint(Scene(world))
        end_task(world, other := start_task(world))
        await until(lambda: len(ended) == 3)
    whose = {end.task.id: (end.submission, end.rpc, end.tenant) for end in ended}
    assert whose.pop(other.id) == ("", "", "payments")
    assert set(whose.values()) == {
        (answer.submission.id, "CheckpointService/CreateCheckpoint", "payments")
    }


async def test_an_end_that_was_told_and_not_noted_before_a_crash_is_told_again(
    tmp_path, monkeypatch
):
    told, again, state = [], [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=STILL) as cloud:
        async with life(cloud, state, told) as world:
            await until(lambda: polled(world))

            async def down(_key, _value):
                raise StoreDown("it is gone")

            monkeypatch.setattr(world.app.submissions.tracker.cursors, "put", down)
            end_task(world, task := start_task(world), "failed")
            await until(lambda: told)
        monkeypatch.undo()
        async with life(cloud, state, again):
            await until(lambda: again)
    assert [each[:2] for each in told] == [each[:2] for each in again] == [(task.id, "failed")]


async def test_a_task_that_is_gone_is_told_with_what_was_known_of_it(tmp_path):
    told, ended, state = [], [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=STILL) as cloud, life(cloud, state, told) as world:

        async def tell(end):
            ended.append(end)

        world.app.ends.listeners.append(tell)
        await until(lambda: polled(world))
        task = start_task(world)
        ends = world.app.submissions.tracker._ends[task.project_id]
        await until(lambda: task.id in ends._cursor.opened)
        lose_task(world, task)
        await until(lambda: ended)
    assert [each[:2] for each in told] == [(task.id, "gone")]
    assert ("vault", "v1") in ended[0].facts.resources


async def test_an_end_does_not_wait_for_the_name_of_its_policy(tmp_path):
    told, state = [], StoreSettings(path=tmp_path / "state.db")
    async with running_emulator(pace=STILL) as cloud, life(cloud, state, told) as world:
        await until(lambda: polled(world))
        order(world, "delay", "PolicyService/GetPolicy", seconds=60, times=None)
        task = start_task(world)
        task.policy_id = "p1"
        end_task(world, task, "failed")
        await until(lambda: told)
    assert [each[:2] for each in told] == [(task.id, "failed")]
