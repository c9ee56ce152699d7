"""What a gateway began that is gone is taken over soon, and never what one began that is only
slow.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

import msgspec
import pytest

from gateway.changes.record import OperationDetail
from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import OPEN, State, StoreSettings, heartbeat, open_store
from gateway.state.heartbeat import Heartbeat
from tests.functional.calls import until
from tests.harness import TENANTS
from tests.quota.fleet import create, running_fleet, until_ok
from tests.quota.oracle import agreed, created
from tests.quota.scenes import SOAK, gateway, limit, new_vault, posts
from tests.state.benches import operation

LEASE_S = 2.0


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr(heartbeat, "LEASE_S", LEASE_S)
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.1)


@contextlib.asynccontextmanager
async def beating(valkey, name) -> AsyncIterator[Heartbeat]:
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(valkey.url), timeout_s=5), SystemClock()
    ) as store:
        beats = Heartbeat(store.leases, SystemClock(), name, alone=False)
        async with beats.running():
            yield beats


@pytest.mark.usefixtures("hurried")
async def test_who_falls_silent_is_gone_and_knows_it_first(valkey):
    async with beating(valkey, "watching") as watching, beating(valkey, "slow") as slow:
        await asyncio.sleep(LEASE_S / 2)
        assert not watching.gone("slow")
        # A stranger may have gone before this process came, or may be about to be heard: only time
        # tells.
        assert not watching.gone("before")
        await until(lambda: watching.gone("before"))
        assert not watching.gone("slow")
        heard, told = slow.leases.beat, []
        watching.subscribe(lambda: told.append((watching.gone("slow"), slow.holds(slow.term))))
        slow.leases.beat = lambda *_: asyncio.Event().wait()
        await until(lambda: watching.gone("slow"))
        assert (True, False) in told
        assert (True, True) not in told
        assert slow.holds(slow.term) is False
        slow.leases.beat = heard


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("loss", ["emptied", "behind", "restarted"])
async def test_after_a_loss_of_the_store_nobody_is_taken_for_gone_who_is_there(valkey, loss):
    async with beating(valkey, "one") as one, beating(valkey, "two") as two:
        await until(lambda: one.gone("three") and two.gone("three"))
        mistaken = []
        one.subscribe(lambda: mistaken.append(one.gone("two")))
        two.subscribe(lambda: mistaken.append(two.gone("one")))
        match loss:
            case "emptied":
                assert valkey.command("FLUSHALL").startswith(b"+OK")
            case "behind":
                # As after a failover to a server whose clock is behind.
                valkey.command("ZADD", "{cbrgw}:processes", "9999999999", "one")
                valkey.command("ZADD", "{cbrgw}:processes", "9999999999", "two")
                valkey.command("ZADD", "{cbrgw}:processes", "9999999999", "three")
            case "restarted":
                valkey.kill()
                await until(lambda: not one.holds(one.term) and not two.holds(two.term))
                assert not one.gone("three")
                valkey.start()
        await until(lambda: not one.gone("three"))
        await until(lambda: one.gone("three") and two.gone("three"))
        assert not any(mistaken)


async def test_a_process_with_a_file_is_alone(tmp_path):
    async with open_store(StoreSettings(path=tmp_path / "state.db"), SystemClock()) as store:
        beats = Heartbeat(store.leases, SystemClock(), "now", alone=True)
        assert beats.holds(beats.term)
        assert beats.gone("an earlier life")
        assert not beats.gone("now")


async def test_what_killed_gateways_left_is_taken_over_by_the_others(tmp_path, valkey):
    """A create that was never sent, and one that CBR carried out and nobody has heard of."""
    dying = ("after_begin", "before_commit")
    async with running_fleet(
        tmp_path, valkey, 3, limit("vaults", "tenant", 9), quota={"settle_s": 5}, dying=dying
    ) as fleet:
        *_, other = fleet.worlds
        await asyncio.gather(
            *(create(world, n, request_id=f"r-{n}") for n, world in enumerate(fleet.worlds[:2]))
        )
        assert [await process.ended() for process in fleet.processes[:2]] == [-signal.SIGKILL] * 2
        # As long as a gateway may be only slow, its operations are its own.
        early = await asyncio.gather(
            *(create(other, number, request_id=f"r-{number}", within_s=4) for number in range(2))
        )
        assert {each.reason for each in early} == {"REQUEST_IN_PROGRESS"}
        await agreed(other)
        again = [await create(other, number, request_id=f"r-{number}") for number in range(2)]
        assert [(each.reason, each.trailers.get("replayed")) for each in again] == [
            ("OK", None),
            ("OK", "true"),
        ]
        assert set(created(other).values()) == {1}


@pytest.mark.usefixtures("hurried")
async def test_a_gateway_that_others_took_for_gone_sends_nothing_of_that_time(tmp_path, valkey):
    """It stands still between the record and the first byte; when it goes on, it is heard again
    before it sends.
    """
    url = tmp_path / "url"
    url.write_text(valkey.url)
    sections = {"state": {"kind": "valkey", "url": {"file": str(url)}, "timeout_s": 5}}
    async with gateway(limit("vaults", "tenant", 3), sections=sections) as world:
        await until_ok(world, 0)
        store, beats = world.app.store, world.app.recovery.heartbeat
        sent, beat = store.operations.sent, store.leases.beat

        async def slowly(op_id):
            allowed = await sent(op_id)
            store.leases.beat = lambda *_: asyncio.Event().wait()
            await until(lambda: not beats.holds(beats.term))
            # The store heard it last a little later than it spoke.
            await asyncio.sleep(LEASE_S)
            store.leases.beat, store.operations.sent = beat, sent
            await beats.beat()
            assert beats.holds(beats.term)
            return allowed

        store.operations.sent = slowly
        assert (await create(world, 1)).reason == "QUOTA_STORE_DOWN"
        assert len(posts(world)) == 1
        assert await store.operations.in_states(None, OPEN) == []
        assert (await create(world, 2)).reason == "OK"


@pytest.mark.skipif(not SOAK, reason="takes a minute")
async def test_a_gateway_that_is_stopped_and_goes_on_makes_nothing_twice(tmp_path, valkey):
    async with running_fleet(
        tmp_path, valkey, 2, limit("vaults", "tenant", 9), quota={"settle_s": 2}
    ) as fleet:
        process, other = fleet.processes[0], fleet.worlds[1]
        await until_ok(other, 0)
        await process.end()
        await process.start(**fleet.environ, CBR_GATEWAY_FAILPOINT="after_sent=sleep")
        async with process.world() as world:
            call = asyncio.create_task(create(world, 1, request_id="r-1", within_s=60))
            async with open_store(
                StoreSettings(kind="valkey", url=Secret(valkey.url), timeout_s=5), SystemClock()
            ) as store:
                async with asyncio.timeout(20):
                    while not await store.operations.in_states(None, {State.SENT}):  # noqa: ASYNC110 - the store has no bell
                        await asyncio.sleep(0.01)
            process.send(signal.SIGSTOP)
            await until_ok(other, 1, request_id="r-1")
            process.send(signal.SIGCONT)
            assert (await call).reason in {"OUTCOME_UNKNOWN", "QUOTA_STORE_DOWN"}
            await agreed(other)
            assert set(created(other).values()) == {1}


@pytest.mark.usefixtures("hurried")
async def test_a_gateway_of_an_earlier_version_does_not_beat_and_is_there_all_the_same():
    async with gateway() as world:
        recovery, store = world.app.recovery, world.app.store
        recovery.heartbeat.alone = False
        project, _ = TENANTS["payments"]
        for name, beats in {"old": False, "new": True}.items():
            trace = OperationDetail(
                "another",
                project,
                new_vault(1).SerializeToString(),
                marked=True,
                accepted=0.0,
                beats=beats,
            )
            await store.operations.begin(
                operation(
                    name, rpc="VaultService/CreateVault", detail=msgspec.msgpack.encode(trace)
                )
            )
            await store.operations.sent(name)
        await recovery.heartbeat.beat()
        await asyncio.sleep(LEASE_S * 0.9)
        await recovery.heartbeat.beat()
        await asyncio.sleep(LEASE_S * 0.2)
        await recovery.sweep()
        assert {op.id: op.state for op in await store.operations.in_states(None, OPEN)} == {
            "old": State.SENT,
            "new": State.UNKNOWN,
        }


async def test_calls_are_answered_while_thousands_of_open_operations_are_looked_at():
    """Whether they are understood or not."""
    async with gateway() as world:
        recovery, store = world.app.recovery, world.app.store
        project, _ = TENANTS["payments"]
        trace = OperationDetail(recovery.heartbeat.owner, project, b"", marked=True)
        for number in range(1000):
            detail = msgspec.msgpack.encode(trace) if number % 2 else b""
            await store.operations.begin(operation(f"open-{number}", detail=detail))
        sweep, turns = asyncio.create_task(recovery.sweep()), 0
        while not sweep.done():
            await asyncio.sleep(0)
            turns += 1
        await sweep
    assert turns >= 10
