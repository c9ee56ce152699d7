"""The record of an operation when the store is slow: what a caller did not hear of is not left behind."""

import asyncio
import threading

from gateway.clock import SystemClock
from gateway.quota.ledger import Ledger
from gateway.state import Admitted, Charge, StoreDown, StoreSettings, Usage, open_store
from tests.state.benches import operation


async def test_what_was_begun_unheard_is_released_later(tmp_path):
    """The disk hangs in the commit that two changes share; one caller loses patience, the other goes away."""
    async with open_store(StoreSettings(path=tmp_path / "state.db", timeout_s=1), SystemClock()) as store:
        ledger = Ledger(store)
        together, begun, committed = threading.Event(), threading.Event(), threading.Event()

        def hang(_):
            begun.set()
            committed.wait(10)

        before = asyncio.create_task(store._thread.run(lambda _: together.wait(10)))
        await asyncio.sleep(0)
        impatient = asyncio.create_task(ledger.begin(operation("one", Charge("vaults", 1, 9), request_id="r")))
        gone = asyncio.create_task(ledger.begin(operation("two", Charge("vaults", 1, 9))))
        await asyncio.sleep(0)
        last = asyncio.create_task(store._thread.run(hang))
        await asyncio.sleep(0)
        together.set()
        assert await asyncio.to_thread(begun.wait, 10)
        gone.cancel()
        _, *ended = await asyncio.gather(before, impatient, gone, last, return_exceptions=True)
        assert [type(end) for end in ended] == [StoreDown, asyncio.CancelledError, StoreDown]
        committed.set()
        assert (await store.usage(["vaults"]))["vaults"] == Usage(reserved=2)
        await ledger.pay()
        assert (await store.usage(["vaults"]))["vaults"] == Usage()
        assert await store.begin(operation("three", request_id="r")) == Admitted()
