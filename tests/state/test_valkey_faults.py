"""A Valkey that stops, dies, is emptied or loses its answers: told in time, refused where growth
could be wrong, bridged where a share is known.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator

import pytest

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import (
    OPEN,
    Admitted,
    Bucket,
    Charge,
    Leased,
    OperationView,
    Refused,
    Slot,
    State,
    Store,
    StoreDown,
    StoreSettings,
    Usage,
    open_store,
)
from tests.state.benches import operation
from tests.state.valkey_server import ValkeyProcess, running_valkey

TIMEOUT_S = 1.5


@pytest.fixture
def own_valkey(tmp_path):
    """A server that a test may hurt."""
    with running_valkey(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def opened(url: str, **more) -> AsyncIterator[Store]:
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(url), **{"timeout_s": TIMEOUT_S, **more}),
        SystemClock(),
    ) as store:
        yield store


@pytest.fixture
async def store(own_valkey: ValkeyProcess) -> AsyncIterator[Store]:
    async with opened(own_valkey.url, replicas=2) as running:
        yield running


async def asserted_down(store: Store) -> None:
    calls = (
        store.operations.begin(operation()),
        store.operations.sent("x"),
        store.operations.commit("x", None),
        store.counters.usage(["k"]),
        store.overrides.version(),
        store.life.epoch(),
        store.counters.fence(),
    )
    async with asyncio.timeout(15):
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(end) for end in ended} == {StoreDown}


async def test_a_paused_server_is_down_within_the_timeout_and_applies_each_call_once(
    store: Store, own_valkey: ValkeyProcess
):
    op = operation("one", Charge("vaults", 1, 9))
    own_valkey.signal(signal.SIGSTOP)
    try:
        with pytest.raises(StoreDown):
            await store.operations.begin(op)
        await asserted_down(store)
    finally:
        own_valkey.signal(signal.SIGCONT)
    assert await store.operations.begin(op) == Admitted()
    assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(reserved=1)


async def test_a_dead_server_is_down_and_comes_back_as_another_epoch(
    store: Store, own_valkey: ValkeyProcess
):
    before = await store.life.epoch()
    await store.operations.begin(operation("one", Charge("vaults", 1, 1)))
    own_valkey.kill()
    await asserted_down(store)
    own_valkey.start()
    with pytest.raises(StoreDown, match="epoch"):
        await store.operations.begin(operation("two", Charge("vaults", 1, 1)))
    assert await store.life.epoch() != before
    assert await store.operations.begin(operation("two", Charge("vaults", 1, 1))) == Admitted()


async def test_a_restart_that_keeps_the_data_is_another_epoch_too(tmp_path):
    with running_valkey(tmp_path, durable=True) as server:
        async with opened(server.url, timeout_s=5) as store:
            before = await store.life.epoch()
            await store.operations.begin(operation("one", Charge("vaults", 1, 1)))
            # The append-only file is written out once a second unless the server is asked to end.
            server.end()
            server.start()
            # The loop has to see that the old connection has ended.
            await asyncio.sleep(0.05)
            assert await store.life.epoch() != before
            assert await store.operations.sent("one")
            assert isinstance(
                await store.operations.begin(operation("two", Charge("vaults", 1, 1))), Refused
            )


async def test_an_emptied_server_refuses_growth_until_each_replica_knows(
    store: Store, own_valkey: ValkeyProcess
):
    async with opened(own_valkey.url) as other:
        before = await store.life.epoch()
        await store.operations.begin(operation("one", Charge("vaults", 1, 1)))
        assert own_valkey.command("FLUSHALL").startswith(b"+OK")
        with pytest.raises(StoreDown):
            await store.operations.begin(operation("two", Charge("vaults", 1, 1)))
        assert await store.life.epoch() != before
        assert await store.operations.begin(operation("two", Charge("vaults", 1, 1))) == Admitted()
        with pytest.raises(StoreDown):
            await other.operations.begin(operation("three", Charge("gib", 1, 1)))
        assert await other.life.epoch() == await store.life.epoch()
        assert await other.operations.begin(operation("three", Charge("gib", 1, 1))) == Admitted()
        assert await store.operations.sent("one") is False
        assert await store.operations.commit("one", None) is State.ABSENT


async def test_a_server_that_forgot_the_scripts_is_taught_again(
    store: Store, own_valkey: ValkeyProcess
):
    await store.operations.begin(operation("one", Charge("vaults", 1, 9)))
    assert own_valkey.command("SCRIPT FLUSH").startswith(b"+OK")
    assert await store.operations.begin(operation("two", Charge("vaults", 1, 9))) == Admitted()
    assert (await store.counters.usage(["vaults"]))["vaults"].reserved == 2


async def test_a_server_that_is_down_at_the_start_only_refuses_growth(own_valkey: ValkeyProcess):
    own_valkey.kill()
    async with opened(own_valkey.url) as store:
        await asserted_down(store)
        own_valkey.start()
        await store.life.epoch()
        assert await store.operations.begin(operation()) == Admitted()


async def test_rates_and_leases_use_the_local_share_meanwhile(
    store: Store, own_valkey: ValkeyProcess
):
    bucket, slot = Bucket("calls", 0.02, 8), Slot("streams", 4)
    assert await store.leases.lease("before", [slot], 60) == Leased()
    own_valkey.kill()
    allowed = [(await store.rates.take([bucket])).allowed for _ in range(8)]
    assert allowed == [True] * 4 + [False] * 4
    assert await store.leases.renew("before", ["streams"], 60)
    assert await store.leases.lease("during", [slot], 60) == Leased()
    assert isinstance(await store.leases.lease("more", [slot], 60), Refused)
    await store.leases.free("before", ["streams"])
    assert await store.leases.lease("more", [slot], 60) == Leased()
    own_valkey.start()
    await asyncio.sleep(1.1)
    assert (await store.rates.take([bucket])).remaining == 7
    assert await store.leases.renew("during", ["streams"], 60)


async def test_callers_that_go_away_do_not_mix_up_answers(store: Store):
    """The connection of a cancelled call must not give its late answer to the next one."""
    for number in range(60):
        task = asyncio.create_task(
            store.operations.begin(operation(f"op-{number}", Charge("vaults", 1, None)))
        )
        await asyncio.sleep(0.0003 * (number % 5))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await store.counters.usage(["never"]) == {"never": Usage()}
    assert (await store.counters.usage(["vaults"]))["vaults"].reserved <= 60


async def test_the_address_of_the_server_is_in_no_message(own_valkey: ValkeyProcess):
    own_valkey.kill()
    async with opened(own_valkey.url) as store:
        with pytest.raises(StoreDown) as caught:
            await store.overrides.version()
    assert "127.0.0.1" not in str(caught.value)
    assert "hidden" not in repr(
        StoreSettings(kind="valkey", url=Secret("redis://user:hidden@host"))
    )


async def test_no_script_is_left_without_a_key_in_the_slot(store: Store, own_valkey: ValkeyProcess):
    """Every key carries the same hash tag: a cluster keeps them in one slot."""
    await store.operations.begin(operation("one", Charge("vaults", 1, 9), request_id="r"))
    await store.operations.sent("one")
    await store.operations.commit("one", b"x", "v")
    await store.counters.adjust("vaults", 1, "a")
    await store.counters.recount({"vaults": 1}, await store.counters.fence(), ())
    await store.rates.take([Bucket("calls", 1, 5)])
    await store.leases.lease("h", [Slot("streams", 1)], 60)
    await store.overrides.put("k", b"v")
    await store.anchors.put("w", b"a")
    keys = [
        word
        for word in own_valkey.command("KEYS *").decode().split("\r\n")
        if word and word[0] not in "*$"
    ]
    assert len(keys) > 8
    assert all(key.startswith("{cbrgw}:") for key in keys)


async def test_what_ended_leaves_nothing_behind(own_valkey: ValkeyProcess):
    async with opened(own_valkey.url, timeout_s=5, replay_ttl_s=0.2) as store:
        for name in ("one", "two"):
            await store.operations.begin(operation(name, request_id=name))
            await store.operations.sent(name)
            await (
                store.operations.commit(name, b"x")
                if name == "one"
                else store.operations.release(name)
            )
        await store.counters.adjust("vaults", 0, "a")
        await store.rates.take([Bucket("calls", 50, 5)])
        await store.leases.lease("h", [Slot("streams", 1)], 0.1)
        await asyncio.sleep(0.3)
        await store.operations.sweep([])
    left = {
        word for word in own_valkey.command("KEYS *").decode().split("\r\n") if word.startswith("{")
    }
    of_the_server = ("epoch", "first", "sequence", "run", "restarted")
    assert left == {f"{{cbrgw}}:{name}" for name in (*of_the_server, "counter:vaults")}


async def test_a_process_that_stood_still_reads_the_answer_that_came_meanwhile(
    own_valkey: ValkeyProcess,
):
    async with opened(own_valkey.url, timeout_s=1) as store:
        own_valkey.signal(signal.SIGSTOP)
        asked = asyncio.create_task(
            store.operations.begin(operation("one", Charge("vaults", 1, 1)))
        )
        await asyncio.sleep(0.05)
        own_valkey.signal(signal.SIGCONT)
        time.sleep(1.1)  # noqa: ASYNC251 - the process itself, with its event loop
        assert await asked == Admitted()


async def test_an_operation_that_ends_while_the_open_ones_are_listed_is_none_of_them(
    store: Store,
):
    """The index is read before what it names, and is shorter then."""
    for number in range(7):
        await store.operations.begin(operation(f"op-{number}"))
    views, ends = store.operations._views, iter([["op-0", "op-1"], ["op-2"]])

    async def later(ids: list[bytes]) -> list[OperationView]:
        for op_id in next(ends):
            await store.operations.commit(op_id, None)
        return await views(ids)

    store.operations._views = later
    assert [each.id for each in await store.operations.opened("", 3)] == ["op-3", "op-4", "op-5"]


@pytest.mark.parametrize(
    ("member", "value"), [("state", "PAUSED"), ("charges", "{}x"), ("charges", "[1]")]
)
async def test_an_operation_in_a_form_that_is_not_known_stops_none_of_the_others(
    own_valkey: ValkeyProcess, store: Store, member: str, value: str
):
    """As another version may write it into a server that both use."""
    for number in range(3):
        await store.operations.begin(operation(f"op-{number}", Charge("vaults", 1, 9), topic="a"))
    assert own_valkey.command(f"HSET {{cbrgw}}:operation:op-1 {member} {value}").startswith(b":0")
    others = ["op-0", "op-2"]
    assert [each.id for each in await store.operations.opened("", 9)] == others
    assert [each.id for each in await store.operations.in_states(None, OPEN)] == others
    assert [each.id for each in (await store.operations.changes("a", "")).operations] == others
    assert await store.operations.get("op-1") is None
    if member == "state":
        with pytest.raises(StoreDown, match="does not know"):
            await store.operations.commit("op-1", None)
        assert await store.counters.usage(["vaults"]) == {"vaults": Usage(reserved=3)}
    for each in others:
        await store.operations.commit(each, None)
    assert (await store.counters.usage(["vaults"]))["vaults"].committed == 2
