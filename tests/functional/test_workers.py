"""`serve --workers 2`: one port and one store, probes and metrics in one place, and nobody missed
for long.

`RELOAD_SOAK=1` changes the configuration a thousand times; `make test` ten times.
"""

import asyncio
import contextlib
import functools
import os
import signal
import urllib.request
from collections import Counter
from pathlib import Path

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.audit.chain import Keys
from gateway.audit.verify import verify
from gateway.workers.child import NotStarted
from gateway.workers.fork_server import ForkServer
from gateway.workers.store_owner import StoreOwner
from tests.functional.calls import until
from tests.functional.reloads import SOAK, reloaded, settled, versions
from tests.functional.worker_processes import (
    AUDIT_KEY,
    CALLERS,
    Gateway,
    descendants,
    named,
    running,
)
from tests.harness import config_for
from tests.quota.fleet import at_most, create, listed, until_ok
from tests.quota.oracle import agreed, created
from tests.quota.scenes import limit, posts

WORKER, OWNER, FORKS = "worker", "store_owner", "fork_server"
PROCESSES = ["cbr fork_server", "cbr store_owner", "cbr worker 1", "cbr worker 2"]
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.timeout(3600 if SOAK else 300)
async def test_workers_are_one_gateway_from_start_to_end(tmp_path):
    """A start of all processes takes its time, so this is one life."""
    async with running(tmp_path) as gateway:
        await limits_and_request_ids_are_one(gateway)
        await calls_over_http_are_answered_by_all(gateway)
        await no_other_gateway_gets_a_port(gateway)
        await all_have_one_configuration_and_none_that_was_refused(gateway)
        await an_end_in_order_answers_what_is_under_way(gateway)
    verdicts = verify(tmp_path / "audit", Keys.of(AUDIT_KEY))
    assert [verdict.bad for verdict in verdicts] == [None, None]
    assert [verdict.writer[-2:] for verdict in verdicts] == ["-1", "-2"]


async def test_a_socket_that_cannot_be_made_is_told(tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    owner = StoreOwner(config_for("http://127.0.0.1:1"), folder, ForkServer([]))
    with pytest.raises(NotStarted, match="TMPDIR"):
        await contextlib.AsyncExitStack().enter_async_context(owner.running())


async def limits_and_request_ids_are_one(gateway):
    async with gateway.callers() as worlds:
        calls = [
            functools.partial(
                create, worlds[(n + i) % CALLERS], n, within_s=60, request_id=f"r-{n}"
            )
            for n in range(40)
            for i in range(2)
        ]
        ended = await at_most(100, calls)
        assert Counter(e.reason for e in ended) == {"OK": 60, "RESOURCE_COUNT_LIMIT": 20}
        replayed = Counter(e.trailers.get("replayed") for e in ended if e.reason == "OK")
        assert replayed == {None: 30, "true": 30}
        assert len(posts(worlds[0], committed=True)) == len(created(worlds[0])) == 30
        await agreed(worlds[0])
        started = await gateway.metric("grpc_server_started_total")
        assert sum(n for series, n in started.items() if "CreateVault" in series) == 80


async def calls_over_http_are_answered_by_all(gateway):
    """Each on a connection of its own."""
    url = f"http://{gateway.http}/cbrgateway.v1.VaultService/ListVaults"
    head = {"content-type": "application/json", "authorization": "Bearer key-of-payments"}

    def call():
        request = urllib.request.Request(url, b"{}", head)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status

    assert await asyncio.gather(*(asyncio.to_thread(call) for _ in range(12))) == [200] * 12


async def no_other_gateway_gets_a_port(gateway):
    """Which it finds out before it has touched anything else."""
    taken = yaml.safe_load((gateway.folder / "gateway.yaml").read_text())["server"]
    state = gateway.folder / "other.db"
    for port in ("listen", "health_listen", "admin", "http"):
        other = Gateway(gateway.folder, gateway.cloud, name="other", state={"path": str(state)})
        file = gateway.folder / "other.yaml"
        if port in taken:
            config = yaml.safe_load(file.read_text())
            config["server"][port] = taken[port]
            file.write_text(yaml.safe_dump(config))
        else:
            setattr(other, port, getattr(gateway, port))
        await other.start()
        assert await other.ended() == 1, port
        assert not state.exists(), port


async def all_have_one_configuration_and_none_that_was_refused(gateway):
    async with gateway.callers() as worlds:
        version = await reloaded(gateway, worlds)
    assert f"version {version}, since the last reload was refused" in await gateway.page("/readyz")
    assert await gateway.replaced() == {"worker": 0, "store_owner": 0, "fork_server": 0}


async def an_end_in_order_answers_what_is_under_way(gateway):
    async with gateway.callers(2) as worlds:
        delay = {"kind": "delay", "seconds": 0.5, "match": {"operation": "CreateVault"}, "times": 8}
        worlds[0].emulator.state.faults.add(delay)
        before = len(posts(worlds[0]))
        calls = [asyncio.create_task(create(worlds[n % 2], 50 + n, within_s=60)) for n in range(8)]
        await until(lambda: len(posts(worlds[0])) == before + 8)
        left = descendants(gateway.pid)
        assert sorted(map(named, left)) == PROCESSES
        gateway.send(signal.SIGTERM)
        assert Counter([(await call).reason for call in calls]) == {"OK": 8}
        assert await gateway.ended() == 0
        assert [pid for pid in left if named(pid)] == []


async def test_whoever_is_killed_is_replaced_and_loses_nothing(tmp_path):
    async with running(tmp_path) as gateway:
        await an_owner_that_is_killed_loses_and_doubles_nothing(gateway)
        await a_worker_that_is_killed_costs_its_calls_only(gateway)
        await health_says_serving_only_while_a_worker_serves(gateway)
        orphans = await a_fork_server_that_is_killed_costs_nothing(gateway)
        left = [*orphans, *descendants(gateway.pid)]
        assert sorted(map(named, left)) == PROCESSES
        gateway.send(signal.SIGKILL)
        await gateway.ended()
        await until(lambda: not [pid for pid in left if named(pid).startswith("cbr ")])


async def an_owner_that_is_killed_loses_and_doubles_nothing(gateway):
    async with gateway.callers() as worlds:
        done = []

        async def one(number):
            ended = await create(worlds[number % CALLERS], number, within_s=60)
            done.append(number)
            return ended.reason

        (first,) = gateway.processes(OWNER)
        changing = [asyncio.create_task(one(number)) for number in range(12)]
        await until(lambda: done)
        os.kill(first, signal.SIGKILL)
        changing += [asyncio.create_task(one(number)) for number in range(12, 24)]
        reasons = Counter(await asyncio.gather(*changing))
        # How many find no owner says how busy the machine is.
        assert set(reasons) <= {"OK", "QUOTA_STORE_DOWN"}
        assert len(posts(worlds[0], committed=True)) == reasons["OK"] >= 1
        assert (await until_ok(worlds[0], 99)).reason == "OK"
        await agreed(worlds[0])
        assert await gateway.replaced() == {"worker": 0, "store_owner": 1, "fork_server": 0}


async def a_worker_that_is_killed_costs_its_calls_only(gateway):
    before = await gateway.metric("grpc_server_handled_total")
    before_it = await versions(gateway)
    killed = gateway.processes(WORKER)[0]
    os.kill(killed, signal.SIGKILL)
    file = gateway.folder / "gateway.yaml"
    changed = yaml.safe_load(file.read_text()) | {"limits": [limit("vaults", "tenant", 31)]}
    file.write_text(yaml.safe_dump(changed))
    gateway.send(signal.SIGHUP)
    # Until then its sockets are open, and the system may still give it connections.
    await until(lambda: not Path(f"/proc/{killed}").exists())
    # The other worker takes calls all the while.
    async with gateway.callers() as worlds:
        found = await asyncio.gather(*(listed(world) for world in worlds))
        assert Counter(each.reason for each in found) == {"OK": CALLERS}
    await gateway.both_serve()
    # What begins after a reload begins with what it has brought.
    await settled(gateway, before_it, refused=False)
    after = await gateway.metric("grpc_server_handled_total")
    assert all(after[series] >= before[series] for series in before)
    assert await gateway.replaced() == {"worker": 1, "store_owner": 1, "fork_server": 0}


async def health_says_serving_only_while_a_worker_serves(gateway):
    file = yaml.safe_load((gateway.folder / "gateway.yaml").read_text())
    said = []

    async def watch(channel):
        stub = health_pb2_grpc.HealthStub(channel)
        async for each in stub.Watch(health_pb2.HealthCheckRequest()):
            said.append(each.status)  # noqa: PERF401 - looked at meanwhile

    async with grpc.aio.insecure_channel(file["server"]["health_listen"]) as channel:
        watching = asyncio.create_task(watch(channel))
        await until(lambda: said == [SERVING])
        for pid in gateway.processes(WORKER):
            os.kill(pid, signal.SIGKILL)
        # One that does not answer in time on a busy machine serves no more meanwhile, either.
        await until(lambda: said[:3] == [SERVING, NOT_SERVING, SERVING], 120)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    await gateway.both_serve()


async def a_fork_server_that_is_killed_costs_nothing(gateway):
    """The workers go on, also as the children of another process, and are replaced as before."""
    (first,), workers = gateway.processes(FORKS), gateway.processes(WORKER)
    owner = gateway.processes(OWNER)
    replaced = await gateway.replaced()
    os.kill(first, signal.SIGKILL)
    await until(lambda: gateway.processes(FORKS) not in ([], [first]))
    async with gateway.callers() as worlds:
        found = await asyncio.gather(*(listed(world) for world in worlds))
        assert Counter(each.reason for each in found) == {"OK": CALLERS}
    assert all(map(named, [*workers, *owner]))
    os.kill(workers[0], signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{workers[0]}").exists())
    await until(lambda: len(gateway.processes(WORKER)) == 1)
    await gateway.both_serve()
    changed = {"worker": 1, "fork_server": 1}
    assert await gateway.replaced() == {
        name: count + changed.get(name, 0) for name, count in replaced.items()
    }
    return [*workers[1:], *owner]
