"""A gateway that is killed between the end of a task and its delivery: the next life tells it."""

import pytest

from emulator.server import running_emulator
from tests.events.receiver import KEY, LOCAL, receiving
from tests.events.scenes import WATCH, assert_valid
from tests.functional.calls import until
from tests.quota.processes import Process
from tests.watch.streams import STILL, end_task, start_task

PLACES = {"before_event": 1, "after_event": 2}
"""Where it is killed, and how often the receiver hears of the event then."""


@pytest.mark.parametrize(("place", "times"), PLACES.items())
async def test_an_end_is_told_after_kill_9(tmp_path, place, times):
    """`times`: how often the receiver sees it, since its answer may have come too late."""
    async with receiving(tmp_path) as receiver, running_emulator(pace=STILL) as cloud:
        gateway = Process(
            tmp_path,
            cloud,
            watch=WATCH,
            state={"path": str(tmp_path / "state.db")},
            events={"sinks": [receiver.sink()], **LOCAL},
        )
        await gateway.start(HOOK_KEY=KEY, CBR_GATEWAY_FAILPOINT=f"{place}=kill")
        async with gateway.world() as world:
            task = start_task(world)
            end_task(world, task, "failed")
            assert await gateway.ended() == -9
        async with gateway.running(HOOK_KEY=KEY):
            await until(lambda: receiver.seen[f"task-{task.id}"] == times)
    assert {event["data"]["outcome"] for event in receiver.got} == {"failed"}
    assert set(receiver.seen) == {f"task-{task.id}"}
    assert_valid(receiver.got)
