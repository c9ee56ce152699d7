"""The record of an operation when the store is slow: what a caller did not hear of is not left
behind.
"""

import asyncio
import threading

import pytest

from gateway.changes.ledger import Ending, Ledger
from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import (
    Admitted,
    Charge,
    Replay,
    State,
    StoreDown,
    StoreSettings,
    Usage,
    open_store,
)
from gateway.upstream.change_observer import ChangeResult
from tests.fakes import SteppedClock
from tests.state.benches import operation


async def test_what_was_begun_unheard_is_released_later(tmp_path):
    """The disk hangs in the commit that two changes share; one caller loses patience, the other
    goes away.
    """
    async with open_store(
        StoreSettings(path=tmp_path / "state.db", timeout_s=1), SystemClock()
    ) as store:
        ledger = Ledger(store.operations, store.counters)
        together, begun, committed = threading.Event(), threading.Event(), threading.Event()

        def hang(_):
            begun.set()
            committed.wait(10)

        before = asyncio.create_task(store.operations._database.run(lambda _: together.wait(10)))
        await asyncio.sleep(0)
        impatient = asyncio.create_task(
            ledger.begin(operation("one", Charge("vaults", 1, 9), request_id="r"))
        )
        gone = asyncio.create_task(ledger.begin(operation("two", Charge("vaults", 1, 9))))
        await asyncio.sleep(0)
        last = asyncio.create_task(store.operations._database.run(hang))
        await asyncio.sleep(0)
        together.set()
        assert await asyncio.to_thread(begun.wait, 10)
        gone.cancel()
        _, *ended = await asyncio.gather(before, impatient, gone, last, return_exceptions=True)
        assert [type(end) for end in ended] == [StoreDown, asyncio.CancelledError, StoreDown]
        committed.set()
        assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(reserved=2)
        await ledger.pay()
        assert (await store.counters.usage(["vaults"]))["vaults"] == Usage()
        assert await store.operations.begin(operation("three", request_id="r")) == Admitted()


async def test_what_was_carried_out_lately_is_told_again_to_a_store_that_lost_it(valkey):
    """As after a failover to a replica that had not heard of it yet: no list may show it, and its
    answer is asked for again.
    """
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(valkey.url), timeout_s=5), SystemClock()
    ) as store:
        clock = SteppedClock()
        ledger = Ledger(store.operations, store.counters, clock=clock, settle_s=120)
        for name in ("old", "new"):
            await ledger.begin(op := operation(name, Charge("vaults", 1, 1), request_id=name))
            await ledger.sent(name)
            await ledger.end(op, Ending(ChangeResult.DONE, b"answer", f"vault-{name}"))
            await store.counters.recount({"vaults": 0}, await store.counters.fence(), ())
            clock.advance(70)
        assert valkey.command("FLUSHALL").startswith(b"+OK")
        await store.life.epoch()
        for _ in range(2):
            await ledger.restore()
        assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(committed=1)
        assert await store.operations.begin(
            operation("again", Charge("vaults", 1, 1), request_id="new")
        ) == Replay(b"answer")


async def test_one_operation_that_the_store_cannot_take_never_stops_the_others(valkey):
    """Its record was damaged; every write to it is refused."""
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(valkey.url), timeout_s=5), SystemClock()
    ) as store:
        ledger = Ledger(store.operations, store.counters)
        names = ("one", "two", "three")
        for name in names:
            await ledger.begin(operation(name, Charge("vaults", 1, 9)))
            await ledger.sent(name)
        valkey.command("DEL", "{cbrgw}:operation:two")
        assert valkey.command("SET", "{cbrgw}:operation:two", "damaged").startswith(b"+OK")
        await ledger.restore()
        for name in names:
            op = operation(name, Charge("vaults", 1, 9))
            await ledger.end(op, Ending(ChangeResult.DONE, b"x"))
        assert list(ledger.owed) == ["two"]
        await ledger.begin(operation("four", Charge("vaults", 1, 9)))
        ledger.owed["four"] = Ending(ChangeResult.NOTHING)
        await ledger.pay()
        assert list(ledger.owed) == ["two"]
        assert (await store.counters.usage(["vaults"]))["vaults"] == Usage(committed=2, reserved=1)
        valkey.kill()
        with pytest.raises(StoreDown):
            await ledger.pay()


async def test_a_restored_operation_stands_where_it_stood(valkey):
    """The store lost nothing: what is recorded anew is there, in whatever state."""
    async with open_store(
        StoreSettings(kind="valkey", url=Secret(valkey.url), timeout_s=5), SystemClock()
    ) as store:
        ledger = Ledger(store.operations, store.counters)
        lives = {
            "RESERVED": (),
            "SENT": ("sent",),
            "UNKNOWN": ("sent", "unknown"),
            "COMMITTED": ("sent", "commit"),
            "RELEASED": ("release",),
        }
        for state, events in lives.items():
            await ledger.begin(operation(state, Charge("vaults", 1, 9), request_id=state))
            for event in events:
                await (
                    store.operations.commit(state, b"x")
                    if event == "commit"
                    else getattr(store.operations, event)(state)
                )
            ledger.under_way[state].state = State.UNKNOWN if state == "UNKNOWN" else State.RESERVED
        before = await store.counters.usage(["vaults"])
        await ledger.restore()
        assert await store.counters.usage(["vaults"]) == before
        assert {op.id: op.state for op in await store.operations.in_states(None, set(State))} == {
            state: state for state in lives
        }
