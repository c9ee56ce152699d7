"""Four gateways with one Valkey poll in turns, go on when one of them is killed, and poll each for
itself while the store is down.
"""

import asyncio
import contextlib
import itertools
import signal

import grpc
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

from emulator.server import running_emulator
from emulator.settings import EmulatorSettings
from emulator.transitions import Pace
from tests.functional.calls import until
from tests.state.valkey_server import running_valkey
from tests.watch.crowd import KEY
from tests.watch.fleet import configuration, fleet, start_task

INTERVAL_S = 0.5


async def ends(address, seen):
    """Watches one gateway; `seen` gets the ids of the tasks that end, after None for the
    snapshot.
    """
    with contextlib.suppress(grpc.aio.AioRpcError):
        async with grpc.aio.insecure_channel(
            address, [("grpc.use_local_subchannel_pool", 1)]
        ) as channel:
            async for event in TaskServiceStub(channel).WatchTasks(
                task_pb2.WatchTasksRequest(), metadata=KEY
            ):
                match event.WhichOneof("event"):
                    case "snapshot_end":
                        seen.append(None)
                    case "terminal":
                        seen.append(event.terminal.task.id)


async def test_four_poll_as_one_and_lose_nothing(tmp_path):
    numbers = itertools.count()
    with running_valkey(tmp_path) as store:
        async with running_emulator(
            settings=EmulatorSettings(pace=Pace(duration_s=1), truth_limit=100_000)
        ) as cloud:
            watch = {"busy_s": INTERVAL_S, "idle_s": INTERVAL_S}
            sections = configuration(
                cloud.base_url, watch, state={"kind": "valkey", "url": {"env": "STORE"}}
            )
            async with fleet(tmp_path, 4, sections, STORE=store.url) as members:
                seen = [[] for _ in members]
                watchers = [
                    asyncio.create_task(ends(member.address, each))
                    for member, each in zip(members, seen, strict=True)
                ]

                async def all_see_an_end(of):
                    task = start_task(cloud, next(numbers))
                    await until(lambda: all(each.count(task.id) == 1 for each in of), 30)

                try:
                    await until(lambda: all(seen), 30)
                    begun = cloud.state.clock.now()
                    for _ in range(3):
                        await all_see_an_end(seen)
                    lasted_s = cloud.state.clock.now() - begun
                    polls = sum(
                        entry.operation == "ListOpLogs" and entry.arrived_at >= begun
                        for entry in cloud.state.truth.entries()
                    )
                    # Four that poll each for itself make about four times the first part.
                    assert polls <= 2 * lasted_s / INTERVAL_S + 2
                    for gone in range(3):
                        await members[gone].end()
                        await all_see_an_end(seen[gone + 1 :])
                    store.signal(signal.SIGSTOP)
                    await all_see_an_end(seen[3:])
                    store.signal(signal.SIGCONT)
                    await all_see_an_end(seen[3:])
                finally:
                    store.signal(signal.SIGCONT)
                    for watcher in watchers:
                        watcher.cancel()
                    await asyncio.gather(*watchers, return_exceptions=True)
