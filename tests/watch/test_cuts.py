"""Watchers through everything that cuts a stream: whatever happens, each sees the end of each task
exactly once.

`make soak-watch` does it with 1,000 tasks, 50 cuts and 5 watchers; `make test` with a few. The
oracle is the emulated cloud, whose own log of tasks says what became of each. A broken gateway
fails here: one that forgets the overlap of a token, one that drops an end for a slow reader, one
whose tokens name a process.
"""

import asyncio
import contextlib
import itertools
import os
import random
import signal

import pytest
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway_client import Gateway
from cbrgateway_client.aio import watch_tasks

from emulator.server import running_emulator
from emulator.settings import EmulatorSettings
from emulator.transitions import Pace
from tests.state.valkey_server import running_valkey
from tests.watch.fleet import Relay, configuration, fleet, start_task
from tests.watch.ledger import FINAL, Ledger, Tapped
from tests.watch.soak import SOAK, report

TASKS, CUTS, WATCHERS = (1000, 50, 5) if SOAK else (40, 5, 3)
BETWEEN_S = 12.0 if SOAK else 0.8
"""From one cut to the next."""
SEED = int(os.environ.get("WATCH_SEED", "1"))
OUTCOMES = ("success", "success", "success", "failed", "timeout", "skipped")
WATCH = {"busy_s": 0.5, "idle_s": 1, "backoff_s": 2}


class Stage:
    """The cloud, the gateways before it, the relay before them, and the store that they share."""

    def __init__(self, cloud, members, relay, store):
        self.cloud, self.members, self.relay, self.store = cloud, members, relay, store
        self._next = itertools.cycle(members)

    async def reset(self):
        self.relay.reset()

    async def goaway(self):
        member = next(self._next)
        await member.end(signal.SIGTERM)
        await member.start()

    async def kill(self):
        member = next(self._next)
        await member.end(signal.SIGKILL)
        await member.start()

    async def burst(self):
        for operation in ("ListOpLogs", "ShowOpLog"):
            self.cloud.state.faults.add(
                {"kind": "status", "status": 503, "match": {"operation": operation}, "times": 6}
            )

    async def restart_store(self):
        await asyncio.to_thread(self.store.kill)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(self.store.start)

    @property
    def cuts(self):
        return [self.reset, self.goaway, self.kill, self.burst, self.restart_store]


@pytest.fixture
async def stage(tmp_path):
    pace = Pace(duration_s=20 if SOAK else 2)
    with running_valkey(tmp_path, durable=True) as store:
        async with running_emulator(settings=EmulatorSettings(pace=pace)) as cloud:
            shared = {"kind": "valkey", "url": {"env": "STORE"}}
            sections = configuration(cloud.base_url, WATCH, state=shared)
            async with (
                fleet(tmp_path, 2, sections, STORE=store.url) as members,
                Relay(members).running() as relay,
            ):
                yield Stage(cloud, members, relay, store)


async def watched(address, ledger):
    """Watches until cancelled.

    Who is forgetful begins a new loop with the last token now and then, as a restarted caller
    would.
    """
    token = ""
    async with Gateway(address, "key-of-payments", plaintext=True).aio_channel() as channel:
        stub = Tapped(TaskServiceStub(channel), ledger)
        while True:
            wanted = task_pb2.WatchTasksRequest(resume_token=token)
            wanted.heartbeat_interval.FromSeconds(5)
            async with contextlib.aclosing(
                watch_tasks(stub, wanted, reconnect_timeout_s=120)
            ) as events:
                async for event in events:
                    news = ledger.seen(event)
                    token = event.resume_token or token
                    # Not for what was told before: a token moves on only once all of that has been
                    # told again.
                    if ledger.forgetful and news and random.random() < 0.05:
                        break


async def make_tasks(cloud, count, within_s):
    for number in range(count):
        start_task(cloud, number, OUTCOMES[number % len(OUTCOMES)])
        await asyncio.sleep(within_s / count)


async def make_cuts(stage, count, between_s):
    turns = itertools.chain.from_iterable(itertools.repeat(stage.cuts))
    for cut in itertools.islice(turns, count):
        await asyncio.sleep(between_s * random.uniform(0.5, 1.5))
        await cut()


@pytest.mark.timeout(1500 if SOAK else 300)
async def test_every_end_is_seen_once_through_every_cut(stage):
    random.seed(SEED)
    ledgers = [Ledger(f"watcher {number}", forgetful=number == 0) for number in range(WATCHERS)]
    loops = [asyncio.create_task(watched(stage.relay.address, ledger)) for ledger in ledgers]
    try:
        # What ends before its snapshot, and some tasks are born ended, is told to nobody.
        await asyncio.gather(*(ledger.begun.wait() for ledger in ledgers))
        await asyncio.gather(
            make_tasks(stage.cloud, TASKS, CUTS * BETWEEN_S * 0.9),
            make_cuts(stage, CUTS, BETWEEN_S),
        )
        log = stage.cloud.state.world.tasks.log
        async with asyncio.timeout(120 if SOAK else 60):
            while any(ledger.missing(truth_of(log)) for ledger in ledgers) or any(
                task.status not in FINAL.values() for task in log.values()
            ):
                stage.cloud.state.world.tasks.settle()
                for loop in loops:
                    assert not loop.done(), loop.exception()
                await asyncio.sleep(0.2)
    except TimeoutError:
        missing = {
            ledger.name: list(ledger.missing(truth_of(log)).items())[:5] for ledger in ledgers
        }
        pytest.fail(
            f"seed {SEED}: not seen: {missing}; problems:"
            f" {[problem for ledger in ledgers for problem in ledger.problems][:10]}"
        )
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
    assert not [problem for ledger in ledgers for problem in ledger.problems]
    assert all(len(ledger.ends) == len(log) == TASKS for ledger in ledgers)
    assert all(ledger.gaps == 0 for ledger in ledgers), "no token is so old that a gap was needed"
    resumed = [sum(map(bool, ledger.opened)) for ledger in ledgers]
    assert min(resumed) >= 2, resumed
    report(f"{TASKS} tasks, {CUTS} cuts, {WATCHERS} watchers; streams resumed by each: {resumed}")


def truth_of(log):
    return {task.id: task.status for task in log.values()}
