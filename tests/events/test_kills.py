"""Whatever moment a gateway is killed at: the webhook hears of every end, and of none wrongly.

`EVENTS_SOAK=50` kills it so often, over twenty tasks a life; `make soak-events` does.
"""

import asyncio
import os
import random
import signal
import sys

import pytest

from emulator.server import running_emulator
from tests.events.receiver import KEY, LOCAL, receiving
from tests.events.scenes import WATCH, assert_valid
from tests.functional.calls import until
from tests.harness import World
from tests.quota.processes import Process
from tests.watch.streams import STILL, end_task, start_task

KILLS = int(os.environ.get("EVENTS_SOAK", "0"))
TASKS = 20
"""In each life."""
OUTCOMES = {"success": "succeeded", "failed": "failed", "timeout": "timed_out"}


@pytest.mark.skipif(not KILLS, reason="EVENTS_SOAK says how often")
@pytest.mark.timeout(1800)
async def test_every_end_is_told_over_many_kills_and_none_wrongly(tmp_path, capsys):
    chance, ended = random.Random(KILLS), {}
    async with receiving(tmp_path) as receiver, running_emulator(pace=STILL) as cloud:
        world = World(None, cloud, None)
        gateway = Process(
            tmp_path,
            cloud,
            watch=WATCH,
            state={"path": str(tmp_path / "state.db")},
            events={"sinks": [receiver.sink()], **LOCAL},
        )

        def end(tasks):
            for task in tasks:
                status = chance.choice(list(OUTCOMES))
                end_task(world, task, status)
                ended[f"task-{task.id}"] = OUTCOMES[status]

        await gateway.start(HOOK_KEY=KEY)
        await gateway.serving()
        for _ in range(KILLS):
            tasks = [start_task(world, vault_id=f"v{n}", resource_id=f"r{n}") for n in range(TASKS)]
            for task in tasks[: TASKS // 2]:
                end([task])
                await asyncio.sleep(chance.uniform(0, 0.05))
            await gateway.end(signal.SIGKILL)
            end(tasks[TASKS // 2 :])
            await gateway.start(HOOK_KEY=KEY)
            await gateway.serving()
        await until(lambda: ended.keys() <= receiver.seen.keys(), within_s=300)
        await gateway.end()
    assert receiver.seen.keys() == ended.keys()
    assert {event["id"]: event["data"]["outcome"] for event in receiver.got} == ended
    assert all(event["data"]["outcome"] == ended[event["id"]] for event in receiver.got)
    assert_valid(receiver.got)
    again = receiver.seen.total() - len(ended)
    with capsys.disabled():
        sys.stdout.write(f"\n{len(ended)} tasks over {KILLS} kills: all told, {again} again\n")
