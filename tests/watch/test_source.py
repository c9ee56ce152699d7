"""CBR behind the streams: how often it is asked, what it may get wrong, and what is told when it
does not answer.
"""

import asyncio
import contextlib

import pytest
import structlog

from gateway.telemetry import CALL_FIELDS
from gateway.watch.poller import Poller
from tests.functional import stage
from tests.functional.calls import arrived, caller, order, until
from tests.harness import running_gateway
from tests.watch.streams import FAST, STILL, end_task, start_task, watching

LIST, GET = "TaskService/ListTasks", "TaskService/GetTask"


@pytest.fixture
def polls(monkeypatch) -> list[tuple[Poller, float]]:
    """Each poll that has ended: whose it was, and how long the pause after it is to be."""
    found, schedule = [], Poller._schedule

    def scheduled(self, shares):
        ended_at = self._clock.monotonic()
        schedule(self, shares)
        found.append((self, self._next_at - ended_at))

    monkeypatch.setattr(Poller, "_schedule", scheduled)
    return found


@pytest.mark.parametrize("watchers", [1, 60])
async def test_polls_do_not_depend_on_the_number_of_watchers(world, polls, watchers):
    start_task(world)
    async with contextlib.AsyncExitStack() as stack:
        for index in range(watchers):
            seen = await stack.enter_async_context(
                watching(world, filter={"types": [1 + index % 9]})
            )
            await seen.until("snapshot_end")
        world.emulator.state.truth.clear()
        polls.clear()
        await until(lambda: len(polls) >= 10)
        # One may have begun before, and another one not have ended.
        assert abs(len(arrived(world, LIST)) - len(polls)) <= 1
        assert len({poller for poller, _ in polls}) == 1
        assert min(pause_s for _, pause_s in polls) >= 0.9 * FAST["busy_s"]


async def test_polling_begins_with_the_first_watcher_and_ends_with_the_last(world):
    assert arrived(world) == []
    async with watching(world) as seen:
        await seen.until("snapshot_end")
    await until(lambda: not world.app.hub.projects)
    asked = len(arrived(world))
    await asyncio.sleep(0.5)
    assert len(arrived(world)) == asked


async def test_a_change_is_followed_by_a_poll_at_once():
    slow = FAST | {"busy_s": 5, "idle_s": 600}
    async with running_gateway(sections={"watch": slow}, pace=STILL) as world:
        async with watching(world) as seen:
            await seen.until("snapshot_end")
            vault = await stage.vault(caller(world), 1)
            await caller(world).ok(
                "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": vault.id}}
            )
            update = await seen.until("update")
        assert update.task.vault_id == vault.id


async def test_an_outage_is_told_once_and_its_end_too(world):
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        order(world, "status", status=503, times=None)
        status = await seen.until("source_status")
        assert (status.healthy, status.failure.code) == (False, 14)
        task = start_task(world)
        end_task(world, task, "failed")
        await asyncio.sleep(0.7)
        world.emulator.state.faults.remove()
        assert (await seen.until("source_status", 2)).healthy
        await seen.until("terminal")
    assert seen.kinds == ["snapshot_end", "source_status", "source_status", "terminal"]


async def test_a_stream_that_is_opened_during_an_outage_begins_after_it(world):
    task = start_task(world)
    order(world, "status", status=503, times=None)
    async with watching(world) as seen:
        assert not (await seen.until("source_status")).healthy
        world.emulator.state.faults.remove()
        await seen.until("snapshot_end")
    assert seen.kinds == ["source_status", "source_status", "snapshot_task", "snapshot_end"]
    assert seen.tasks("snapshot_task") == [task.id]


async def test_throttling_slows_the_polls_down():
    async with running_gateway(
        sections={"watch": FAST | {"busy_s": 0.05, "backoff_s": 60}}, pace=STILL
    ) as world:
        start_task(world)
        async with watching(world) as seen:
            await seen.until("snapshot_end")
            order(world, "status", status=429, headers={"Retry-After": "30"}, times=None)
            await seen.until("source_status")
            world.emulator.state.truth.clear()
            await asyncio.sleep(1)
            assert len(arrived(world, LIST)) == 0


async def test_a_task_that_cbr_lists_late_is_told_all_the_same(world):
    """Also when a later one was listed before it: each poll looks back."""
    end_task(world, start_task(world))
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        order(world, "raw", LIST, body={"operation_logs": [], "count": 0}, times=1)
        late = start_task(world)
        end_task(world, late)
        world.emulator.state.clock.step(60)
        later = start_task(world)
        await seen.until("update")
        await seen.until("terminal")
    assert (seen.tasks("terminal"), seen.tasks("update")) == ([late.id], [later.id])


async def test_a_late_list_takes_nothing_away(world):
    """An open task that is missing from the list is asked for by its id."""
    task = start_task(world)
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        order(world, "list_lag", LIST, seconds=3600, times=None)
        await until(lambda: len(arrived(world, GET)) >= 3)
        end_task(world, task)
        await seen.until("terminal")
    assert seen.kinds == ["snapshot_task", "snapshot_end", "terminal"]


async def test_many_tasks_over_many_pages_are_all_told(world):
    tasks = [start_task(world) for _ in range(450)]
    async with watching(world) as seen:
        assert (await seen.until("snapshot_end")).task_count == 450
        more = [start_task(world) for _ in range(250)]
        await seen.until("update", 250)
        for task in tasks + more:
            end_task(world, task)
        await seen.until("terminal", 700)
    assert len(set(seen.tasks("terminal"))) == 700


async def test_rows_that_are_inserted_while_pages_are_read_are_not_lost(world):
    for _ in range(210):
        start_task(world)
    order(world, "delay", LIST, seconds=0.05, times=None)
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        born = []
        for _ in range(60):
            born.append(start_task(world))
            await asyncio.sleep(0.01)
        for task in born:
            end_task(world, task)
        await seen.until("terminal", 60)
    assert set(seen.tasks("terminal")) == {task.id for task in born}


async def test_old_open_tasks_are_read_one_by_one_and_not_with_all_that_came_later(world):
    old = [start_task(world) for _ in range(3)]
    world.emulator.state.clock.step(7200)
    later = [start_task(world) for _ in range(5)]
    for task in later:
        end_task(world, task)
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        world.emulator.state.truth.clear()
        await until(lambda: len(arrived(world, GET)) >= 9)
        assert all("start_time" in entry.target for entry in arrived(world, LIST))
        end_task(world, old[0])
        await until(lambda: old[0].id in seen.tasks("terminal"))
    # A poll may have seen those that came later before they ended.
    assert set(seen.tasks("terminal")) <= {old[0].id, *(task.id for task in later)}


async def test_heartbeats_come_by_their_own_timer(world):
    """Also while nothing that matches happens, and while CBR does not answer: then the lag
    grows.
    """
    task = start_task(world)
    async with (
        watching(world, heartbeat_interval={"seconds": 5}, filter={"task_ids": [task.id]}) as seen,
        watching(world) as noisy,
    ):
        await noisy.until("snapshot_end")
        for _ in range(10):
            end_task(world, start_task(world))
        await noisy.until("terminal", 10)
        order(world, "status", status=503, times=None)
        beat = await seen.until("heartbeat")
    assert beat.open_task_count == 1
    assert beat.source_lag.ToMilliseconds() > 2000
    assert "terminal" not in seen.kinds


@pytest.mark.parametrize("kind", ["garbage", "cut", "truncate"])
async def test_a_broken_answer_is_an_outage_and_no_news(world, kind):
    start_task(world)
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        order(world, kind, LIST, times=None)
        await seen.until("source_status")
        world.emulator.state.faults.remove()
        await seen.until("source_status", 2)
    assert seen.kinds == ["snapshot_task", "snapshot_end", "source_status", "source_status"]


async def test_a_failing_poll_does_not_end_the_polling(world, monkeypatch):
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        with monkeypatch.context() as broken:
            broken.setattr(world.app.hub.projects[seen_project(world)].poller.table, "apply", None)
            status = await seen.until("source_status")
        await seen.until("source_status", 2)
    assert "inside" in status.failure.message
    assert status.failure.code == 13


def seen_project(world):
    (project,) = world.app.hub.projects
    return project


async def test_nobody_is_told_that_all_is_done_from_what_was_read_before_they_asked():
    """Also where the project is polled already, because somebody else watched it."""
    slow = FAST | {"idle_s": 600, "linger_s": 600}
    async with running_gateway(sections={"watch": slow}, pace=STILL) as world:
        async with watching(world) as other:
            await other.until("snapshot_end")
        task = start_task(world)
        async with watching(world, filter={"vault_id": "v1"}, end_when_all_terminal=True) as seen:
            await seen.until("snapshot_end")
            end_task(world, task)
            await seen.ended()
    assert seen.tasks("snapshot_task") == seen.tasks("terminal") == [task.id]


async def test_polling_is_logged_in_the_name_of_no_call(world):
    bound = []
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        poller = next(iter(world.app.hub.projects.values())).poller
        poller.observe = lambda *_: bound.append(CALL_FIELDS.get())
        await until(lambda: bound)
    assert bound[0] is None


async def test_a_task_that_cannot_be_read_keeps_nobody_from_the_others(world):
    task = start_task(world)
    order(world, "status", GET, status=500, body={"error_code": "X", "error_msg": "x"}, times=None)
    async with watching(world) as seen, watching(world, filter={"task_ids": ["broken"]}) as waiting:
        await seen.until("snapshot_end")
        await until(lambda: len(arrived(world, GET)) >= 2)
        end_task(world, task)
        await seen.until("terminal")
        world.emulator.state.faults.remove()
        await waiting.until("removed")
    assert seen.kinds == ["snapshot_task", "snapshot_end", "terminal"]
    assert waiting.kinds[:2] == ["snapshot_end", "source_status"]


async def test_a_task_that_is_listed_late_is_told_however_many_newer_ones_there_were_at_the_start(
    world,
):
    """It was begun before the newest 200, so that a first page of the list does not reach back to
    it.
    """
    for _ in range(250):
        end_task(world, start_task(world))
    async with watching(world) as seen:
        await seen.until("snapshot_end")
        late = start_task(world)
        late.created_at -= 30
        end_task(world, late, "failed")
        assert (await seen.until("terminal")).task.id == late.id


async def test_an_ordinary_stop_is_no_warning():
    """A poll, a count and a reading of vaults are under way when the gateway is told to end."""
    sections = {"watch": FAST | {"follow": "always"}, "metrics": {"vaults_s": 0.1}}
    sections |= {"admin": {"listen": "127.0.0.1:0"}}
    with structlog.testing.capture_logs() as said:
        async with running_gateway(sections=sections, pace=STILL) as world:
            order(world, "delay", seconds=5, times=None)
            before = len(arrived(world))
            await until(lambda: len(arrived(world)) > before + 2)
            app = world.app
            app.client.release()
            pollers = app.submissions.tracker.pollers()
            await until(lambda: any(poller.failure is not None for poller in pollers))
    assert not [each for each in said if each["log_level"] == "warning"]
