"""The resume loop over a real channel, against a server that plays scripts: the same cases for
asyncio and without.
"""

import asyncio
import time

import grpc
import pytest
from cbrgateway.v1 import errors_pb2, task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway_client import CallError, aio, watch_tasks
from cbrgateway_client.resume import Resumption, lost
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2

from tests.client.scripted import DONE, HANG, HOLE, end, playing, refuse, snapshot, terminal, update


@pytest.fixture(scope="module")
async def stage():
    async with playing() as (player, gateway):
        yield player, gateway


@pytest.fixture(params=["asyncio", "blocking"])
def watch(request, stage):
    """Plays the scripts and collects what a caller of the loop sees: a list that is filled as it
    comes.
    """
    player, gateway = stage
    player.requests.clear()

    def blocking(seen, wanted, reconnect_timeout_s):
        with gateway.channel() as channel:
            seen.extend(
                watch_tasks(
                    TaskServiceStub(channel), wanted, reconnect_timeout_s=reconnect_timeout_s
                )
            )

    async def carry_out(*scripts, wanted=None, reconnect_timeout_s=10.0):
        player.scripts[:] = list(scripts)
        seen = []
        try:
            if request.param == "blocking":
                await asyncio.to_thread(blocking, seen, wanted, reconnect_timeout_s)
            else:
                async with gateway.aio_channel() as channel:
                    async for event in aio.watch_tasks(
                        TaskServiceStub(channel), wanted, reconnect_timeout_s=reconnect_timeout_s
                    ):
                        seen.append(event)  # noqa: PERF401 - what came before an error counts, too
        except CallError as error:
            return shown(seen), error
        return shown(seen), None

    return carry_out


def shown(events):
    """Each event as `kind`, or `kind id@revision` where there is a task."""
    lines = []
    for event in events:
        kind = event.WhichOneof("event")
        part = getattr(event, kind)
        task = part if isinstance(part, task_pb2.Task) else getattr(part, "task", None)
        lines.append(f"{kind} {task.id}@{task.revision}" if task else kind)
    return lines


SHUTDOWN, LIFETIME = (
    end(task_pb2.STREAM_END_REASON_SHUTDOWN, 0.01),
    end(task_pb2.STREAM_END_REASON_LIFETIME),
)
CUTS = {
    "nothing is said": (),
    "the gateway goes away": (refuse(code_pb2.UNAVAILABLE),),
    "the caller was too slow": (refuse(code_pb2.ABORTED, "CALLER_TOO_SLOW"),),
    "the call is refused by gRPC": (refuse(code_pb2.CANCELLED),),
    "a proxy resets the stream": (refuse(code_pb2.INTERNAL),),
    "the places of lost streams are still taken": (
        refuse(code_pb2.RESOURCE_EXHAUSTED, "STREAM_LIMIT", 0.05),
    ),
    "the gateway shuts down": (SHUTDOWN,),
    "the stream is old": (LIFETIME,),
    "an event is missing": (HOLE, update("b", 7)),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=list(CUTS))
async def test_goes_on_where_the_stream_broke(watch, stage, cut):
    first = (snapshot("a", 1), update("a", 2), *cut)
    second = (update("a", 2), update("a", 3), terminal("a", 4), DONE)
    seen, error = await watch(first, second)
    assert error is None
    assert seen == ["snapshot_task a@1", "update a@2", "update a@3", "terminal a@4"]
    player, _ = stage
    assert player.tokens == ["", "1.3" if cut in ((SHUTDOWN,), (LIFETIME,)) else "1.2"]


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """How long the loops have slept, each time."""
    found = []

    def noted(sleep):
        return lambda seconds, *more: found.append(seconds) or sleep(seconds, *more)

    monkeypatch.setattr(time, "sleep", noted(time.sleep))
    monkeypatch.setattr(asyncio, "sleep", noted(asyncio.sleep))
    return found


async def test_keeps_the_request_and_waits_as_long_as_it_is_asked(watch, stage, slept):
    wanted = task_pb2.WatchTasksRequest(
        filter=task_pb2.TaskFilter(task_ids=["a"]), end_when_all_terminal=True
    )
    _, error = await watch((end(task_pb2.STREAM_END_REASON_SHUTDOWN, 0.4),), (DONE,), wanted=wanted)
    assert error is None
    assert max(slept) >= 0.4
    player, _ = stage
    assert [
        (request.filter.task_ids, request.end_when_all_terminal) for request in player.requests
    ] == [(["a"], True)] * 2
    assert wanted.resume_token == ""


async def test_tells_a_gap_and_begins_anew_when_the_token_is_too_old(watch, stage):
    wanted = task_pb2.WatchTasksRequest(include_snapshot=False, resume_token="old")
    seen, error = await watch(
        (refuse(code_pb2.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED"),),
        (snapshot("a", 5), terminal("a", 6), DONE),
        wanted=wanted,
    )
    assert error is None
    assert seen == ["gap", "snapshot_task a@5", "terminal a@6"]
    player, _ = stage
    assert player.tokens == ["old", ""]
    assert not player.requests[1].HasField("include_snapshot")


async def test_waits_while_the_gateway_has_too_many_calls(watch, stage):
    """Also before there is anything to resume."""
    full = (refuse(code_pb2.RESOURCE_EXHAUSTED, "OVERLOADED", 0.05),)
    seen, error = await watch(full, full, (terminal("a", 2), DONE))
    assert (seen, error) == (["terminal a@2"], None)
    player, _ = stage
    assert player.tokens == ["", "", ""]


async def test_notices_a_connection_that_is_silent(watch, stage):
    wanted = task_pb2.WatchTasksRequest(heartbeat_interval=Duration(nanos=100_000_000))
    seen, error = await watch((update("a", 1), HANG), (terminal("a", 2), DONE), wanted=wanted)
    assert (seen, error) == (["update a@1", "terminal a@2"], None)


REFUSALS = {
    "unknown credential": refuse(code_pb2.UNAUTHENTICATED, "CREDENTIALS_INVALID"),
    "foreign token": refuse(code_pb2.INVALID_ARGUMENT, "RESUME_TOKEN_MISMATCH"),
    "no token, and no room": refuse(code_pb2.RESOURCE_EXHAUSTED, "STREAM_LIMIT", 1.5),
    "no token that could be old": refuse(code_pb2.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED"),
    "an error inside": refuse(code_pb2.INTERNAL, "INTERNAL"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=list(REFUSALS))
async def test_raises_what_will_not_pass(watch, stage, refusal):
    seen, error = await watch((refusal,))
    assert seen == []
    assert error.code().value[0] == refusal.code
    assert error.reason != errors_pb2.ERROR_REASON_UNSPECIFIED
    assert error.retry_delay_s == (
        1.5 if "room" in refusal.message or error.reason_name == "STREAM_LIMIT" else None
    )
    player, _ = stage
    assert len(player.requests) == 1


async def test_gives_up_after_hearing_nothing_for_too_long(watch, stage):
    _, error = await watch(*[(refuse(code_pb2.UNAVAILABLE),)] * 20, reconnect_timeout_s=0.3)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    player, _ = stage
    assert 1 < len(player.requests) < 20


def test_the_time_of_a_slow_caller_is_none_of_an_outage():
    now = 0.0
    memory = Resumption(task_pb2.WatchTasksRequest(), 60, clock=lambda: now)
    memory.take(task_pb2.WatchTasksResponse(sequence=1, heartbeat=task_pb2.WatchHeartbeat()))
    now = 120.0
    for _ in range(3):
        memory.opened()
        assert memory.ended(lost("as tried"))
    now = 181.0
    with pytest.raises(CallError, match="as tried"):
        memory.ended(lost("as tried"))
