"""Thousands of watchers, whom CBR does not feel; and one that never reads, whom the others do not
feel.

`make soak-watch`: 5,000 watchers of 100 tasks on 4 gateways. `make test`: 120 of 6 on 2, who poll
in turns.
"""

import asyncio
import contextlib
import json
import os
import sys

import grpc
import pytest
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway_client import Gateway
from cbrgateway_client.aio import watch_tasks

from emulator.server import running_emulator
from emulator.settings import EmulatorSettings
from emulator.transitions import Pace
from tests.quota.processes import ROOT
from tests.state.valkey_server import running_valkey
from tests.watch.crowd import KEY
from tests.watch.fleet import configuration, fleet, start_task
from tests.watch.ledger import Ledger, Tapped
from tests.watch.soak import SOAK, report

WATCHERS, TASKS, MEMBERS, CROWDS = (5000, 100, 4, 2) if SOAK else (120, 6, 2, 1)
INTERVAL_S = 5.0 if SOAK else 0.5
TASK_S = 60.0 if SOAK else 4.0
SMALL_WINDOW = [
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 65536),
    ("grpc.use_local_subchannel_pool", 1),
]
"""Else gRPC lets a stream that nobody reads have as much as the fastest one."""
ROOMY = {"limits": [{"metric": "open_streams", "value": 100_000}]}


@contextlib.asynccontextmanager
async def crowd(**orders):
    """The lines that a crowd prints."""
    environ = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(ROOT / "generated" / "python"), str(ROOT)))
    }
    command = (sys.executable, "-m", "tests.watch.crowd", json.dumps(orders))
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, cwd=ROOT, stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    try:
        yield process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.fixture
async def stage(tmp_path):
    with running_valkey(tmp_path) as store:
        async with running_emulator(
            settings=EmulatorSettings(pace=Pace(duration_s=TASK_S), truth_limit=200_000)
        ) as cloud:
            watch = {"busy_s": INTERVAL_S, "idle_s": INTERVAL_S}
            sections = configuration(
                cloud.base_url, watch, state={"kind": "valkey", "url": {"env": "STORE"}}, **ROOMY
            )
            async with fleet(tmp_path, MEMBERS, sections, STORE=store.url) as members:
                yield cloud, members


def polls(cloud, since):
    """The polls that arrived since then: each lists tasks once, since they fit on a page. Metrics
    list those that have succeeded, a minute after the start.
    """
    return sum(
        entry.operation == "ListOpLogs"
        and entry.arrived_at >= since
        and "status=" not in entry.target
        for entry in cloud.state.truth.entries()
    )


@pytest.mark.timeout(400 if SOAK else 300)
async def test_the_cloud_does_not_feel_how_many_watch(stage):
    cloud, members = stage
    tasks = [start_task(cloud, number) for number in range(TASKS)]
    orders = {
        "addresses": [member.address for member in members],
        "streams": WATCHERS // CROWDS,
        "task_ids": [task.id for task in tasks],
    }
    async with contextlib.AsyncExitStack() as stack:
        crowds = [
            await stack.enter_async_context(crowd(**orders, per_connection=100))
            for _ in range(CROWDS)
        ]
        ready = [await lines.readline() for lines in crowds]
        assert sum(int(line.split()[1]) for line in ready) == WATCHERS // CROWDS * CROWDS, ready
        begun = cloud.state.clock.now()
        results = [json.loads(await lines.readline()) for lines in crowds]
    found, lasted_s = polls(cloud, begun), cloud.state.clock.now() - begun
    # As many as one gateway alone makes.
    allowed = (1.2 if SOAK else 1.6) * lasted_s / INTERVAL_S + 1
    delays_s = sorted(
        moment - task.ended_at
        for result in results
        for task in tasks
        for moment in result["seen"].get(task.id, ())
    )
    assert [result["ends"] for result in results] == [
        {"STREAM_END_REASON_ALL_TERMINAL": WATCHERS // CROWDS}
    ] * CROWDS
    assert len(delays_s) == WATCHERS // CROWDS * CROWDS
    p50_s, p99_s = delays_s[len(delays_s) // 2], delays_s[len(delays_s) * 99 // 100]
    report(
        f"{WATCHERS} watchers, {TASKS} tasks, {MEMBERS} gateways: {found} polls in {lasted_s:.1f}"
        f" s, allowed {allowed:.1f}"
    )
    report(f"terminal delay p50 {p50_s:.2f} s, p99 {p99_s:.2f} s, interval {INTERVAL_S} s")
    assert found <= allowed
    if SOAK:
        # On a machine that does nothing else: each of the streams has its share of a processor.
        assert p99_s <= INTERVAL_S + 0.25


async def test_who_never_reads_costs_little_and_disturbs_nobody(tmp_path):
    """40 streams are not read while 300 tasks change again and again; when they are read, each task
    has waited in its newest state.
    """
    stuck, count = 40, 300
    async with running_emulator(settings=EmulatorSettings(pace=Pace(duration_s=3))) as cloud:
        sections = configuration(cloud.base_url, {"busy_s": 0.2, "idle_s": 0.2})
        async with (
            fleet(tmp_path, 1, sections) as (member,),
            grpc.aio.insecure_channel(member.address, SMALL_WINDOW) as narrow,
            grpc.aio.insecure_channel(member.address) as channel,
        ):
            before_kib = member.resident_kib
            stub = TaskServiceStub(narrow)
            silent = [
                stub.WatchTasks(task_pb2.WatchTasksRequest(), metadata=KEY) for _ in range(stuck)
            ]
            reading = TaskServiceStub(channel).WatchTasks(
                task_pb2.WatchTasksRequest(), metadata=KEY
            )
            assert (await reading.read()).HasField("snapshot_end")
            for number in range(count):
                start_task(cloud, number)
            updates = await seen_until_the_end(reading, count)
            grown_kib = member.resident_kib - before_kib
            late = await seen_until_the_end(silent[0], count)
            for call in (*silent, reading):
                call.cancel()
    report(
        f"{stuck} streams that nobody reads, {count} tasks: {updates} updates for a reader, {late}"
        f" for a late one, {grown_kib} KiB more memory"
    )
    assert updates >= count
    assert late <= 2 * count + 200, (
        "what is sent before the window is full, and one state of each task"
    )
    assert grown_kib < 40 * 1024


async def seen_until_the_end(call, count):
    """How many updates came before the ends of that many tasks, each of which came once."""
    updates, ends = 0, set()
    while len(ends) < count:
        event = await call.read()
        updates += event.HasField("update")
        if event.HasField("terminal"):
            assert event.terminal.task.id not in ends
            ends.add(event.terminal.task.id)
    return updates


async def test_who_comes_with_many_others_gets_in(tmp_path):
    """More streams are opened at once than may wait (`max_pending_requests` keeps them few): gRPC
    refuses some, and the loop comes again.
    """
    count = 400
    async with running_emulator(settings=EmulatorSettings(pace=Pace(duration_s=1000))) as cloud:
        start_task(cloud, 1)
        async with (
            fleet(tmp_path, 1, configuration(cloud.base_url, {})) as (member,),
            contextlib.AsyncExitStack() as stack,
        ):
            ledgers = [Ledger(f"watcher {number}") for number in range(count)]
            gateway = Gateway(member.address, "key-of-payments", plaintext=True)
            stubs = [
                TaskServiceStub(await stack.enter_async_context(gateway.aio_channel()))
                for _ in range(count // 50)
            ]
            await asyncio.gather(
                *(
                    begun(Tapped(stubs[number % len(stubs)], ledger))
                    for number, ledger in enumerate(ledgers)
                )
            )
    assert not [problem for ledger in ledgers for problem in ledger.problems]
    report(
        f"{count} streams opened at once: {sum(len(ledger.opened) for ledger in ledgers) - count}"
        " were refused and came again"
    )


async def begun(stub):
    """Returns once the watch has its snapshot."""
    async with contextlib.aclosing(watch_tasks(stub, reconnect_timeout_s=60)) as events:
        async for event in events:
            if event.HasField("snapshot_end"):
                return
