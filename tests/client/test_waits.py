"""Waits over a real channel, against a server that plays scripts: by one stream, through cuts, and
no longer than they may take. For asyncio and without.
"""

import asyncio
import math
from datetime import timedelta
from decimal import Decimal

import pytest
from cbrgateway.v1 import Submission, WatchTasksResponse, task_pb2, task_pb2_grpc
from cbrgateway_client import (
    CallError,
    Gateway,
    Kind,
    aio,
    retry_when_limited,
    wait,
    watch_tasks,
)
from google.rpc import code_pb2

from tests.client.scripted import DONE, HANG, playing, refuse, snapshot, terminal, update

LOST = refuse(code_pb2.UNAVAILABLE)


@pytest.fixture(scope="module")
async def stage():
    async with playing() as (player, gateway):
        yield player, gateway


@pytest.fixture(params=["asyncio", "blocking"])
def waited(request, stage):
    """Plays the scripts to a wait; its answer."""
    player, gateway = stage
    player.requests.clear()

    def blocking(what, timeout_s):
        with gateway.channel() as channel:
            return wait(channel, what, timeout_s=timeout_s)

    async def carry_out(what, *scripts, timeout_s=None):
        player.scripts[:] = list(scripts)
        if request.param == "blocking":
            return await asyncio.to_thread(blocking, what, timeout_s)
        async with gateway.aio_channel() as channel:
            return await aio.wait(channel, what, timeout_s=timeout_s)

    carry_out.player = player
    return carry_out


async def test_a_wait_goes_on_through_a_cut(waited):
    ended = await waited("a", [snapshot("a", 1), update("a", 2), LOST], [terminal("a", 3), DONE])
    assert [task.id for task in ended.tasks] == ["a"]
    assert waited.player.tokens == ["", "1.2"]


@pytest.mark.parametrize("order", [1, -1], ids=["removed last", "removed first"])
async def test_a_removal_hides_no_end(waited, order):
    """CBR may have failed to show a task for a while, and may forget one that has ended."""
    events = [terminal("a", 1), WatchTasksResponse(removed=task_pb2.TaskRemoval(task_id="a"))]
    ended = await waited("a", [*events[::order], DONE])
    assert [task.id for task in ended.tasks] == ["a"]


async def test_a_thousand_tasks_are_waited_for_by_one_stream(waited):
    names = [f"task-{number}" for number in range(1000)]
    told = WatchTasksResponse(submission=Submission(id="many", task_ids=names))
    ends = [terminal(name, 1) for name in names]
    ended = await waited(Submission(id="many"), [told, *ends, DONE])
    assert [task.id for task in ended.tasks] == names
    assert len(waited.player.requests) == 1


@pytest.mark.parametrize("script", [[HANG], [snapshot("a", 1), HANG], [LOST]])
async def test_a_wait_ends_in_time_whatever_the_stream_does(waited, script):
    with pytest.raises(CallError, match=r"After 0\.2 s these have not ended: a, b") as late:
        await waited(["a", "b"], *[script] * 20, timeout_s=0.2)
    assert (late.value.kind, late.value.still_open) == (Kind.DEADLINE, ("a", "b"))
    assert "The work goes on" in str(late.value)


@pytest.mark.parametrize(
    "timeout_s", [None, math.inf, 10**400, 60], ids=lambda each: f"{each!r:.9}"
)
async def test_the_time_of_somebody_between_is_not_that_of_the_wait(waited, timeout_s):
    with pytest.raises(CallError, match="DEADLINE_EXCEEDED: as scripted") as error:
        await waited(["a"], [refuse(code_pb2.DEADLINE_EXCEEDED)], timeout_s=timeout_s)
    assert error.value.still_open == ()


@pytest.mark.parametrize(
    ("odd", "wrong", "told"),
    [
        (math.nan, ValueError, "is not a number of seconds"),
        ("5", TypeError, "takes a number of seconds, not str"),
        ("", TypeError, "takes a number of seconds, not str"),
        (Decimal(5), TypeError, "takes a number of seconds, not Decimal"),
        (timedelta(seconds=5), TypeError, "takes a number of seconds, not timedelta"),
    ],
)
def test_a_time_that_is_no_number_of_seconds_is_refused_by_its_name(odd, wrong, told):
    with Gateway("127.0.0.1:9", "key", plaintext=True).channel() as channel:
        tasks = task_pb2_grpc.TaskServiceStub(channel)
        with pytest.raises(wrong, match=f"timeout {told}"):
            tasks.ListTasks(task_pb2.ListTasksRequest(), timeout=odd)
        with pytest.raises(wrong, match=f"timeout_s {told}"):
            next(watch_tasks(tasks, timeout_s=odd))
        with pytest.raises(wrong, match=f"reconnect_timeout_s {told}"):
            next(watch_tasks(tasks, reconnect_timeout_s=odd))
        with pytest.raises(wrong, match=f"timeout_s {told}"):
            wait(channel, "a-task", timeout_s=odd)
        with pytest.raises(wrong, match=f"timeout_s {told}"):
            retry_when_limited(lambda: None, timeout_s=odd)
