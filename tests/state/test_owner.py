"""Workers of one machine ask the owner of an embedded file, and an owner that is killed is followed
by another on the same socket.
"""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.state import (
    Bucket,
    Leased,
    Slot,
    State,
    Store,
    StoreDown,
    StoreSettings,
    open_store,
)
from gateway.state.owner_address import OwnerAddress
from gateway.state.owner_process import Order
from gateway.telemetry import LogSettings
from tests.functional.calls import until
from tests.state.benches import operation, running_owner
from tests.state.test_processes import ENVIRONMENT, begin_many

OWNER_PROCESS = """
import sys
from gateway.state.owner_process import main
main(sys.argv[1], *map(int, sys.argv[2:]))
"""
LONG_S = 60
"""As the machine may be busy."""


class Owners:
    """The socket that workers ask on, and the owners that listen on it, one after the other."""

    def __init__(self, folder: Path, timeout_s: float = LONG_S, name: str = "owner") -> None:
        self.settings = StoreSettings(path=folder / "state.db", timeout_s=5)
        self.timeout_s = timeout_s
        self.place = folder / f"{name}.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.place))
        self._listener.listen()
        self.address = OwnerAddress(self.place, 2)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Does not wait until it listens."""
        follows = self.process is not None
        self._parent, theirs = socket.socketpair()
        order = Order(
            path=str(self.settings.path),
            timeout_s=5,
            replay_ttl_s=3600,
            follows=follows,
            log=LogSettings(level="error").model_dump_json(),
        )
        given = self._listener.fileno(), theirs.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER_PROCESS, msgspec.json.encode(order), *map(str, given)],
            pass_fds=given,
            env=ENVIRONMENT,
        )
        theirs.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._parent.close()

    def orphan(self) -> None:
        """As a parent that ends."""
        self._parent.close()

    def close(self) -> None:
        self.kill()
        self._listener.close()

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        settings = self.settings.model_copy(update={"timeout_s": self.timeout_s})
        async with open_store(settings, SystemClock(), owner=self.address) as store:
            yield store


@pytest.fixture
def owners(tmp_path):
    owners = Owners(tmp_path)
    owners.start()
    yield owners
    owners.close()


async def test_processes_together_admit_exactly_the_limit(owners):
    crowd = [
        begin_many(StoreSettings(timeout_s=5), 150, 100, f"p{number}", OWNER=str(owners.place))
        for number in range(2)
    ]
    told = await asyncio.gather(
        *(asyncio.to_thread(process.communicate, timeout=LONG_S) for process in crowd)
    )
    admitted = [line for out, _ in told for line in out.splitlines()]
    assert [process.returncode for process in crowd] == [0, 0]
    assert len(admitted) == len(set(admitted)) == 100
    async with owners.store() as store:
        assert (await store.counters.usage(["payments/vaults"]))["payments/vaults"].reserved == 100
        assert sorted(
            view.id for view in await store.operations.in_states("payments", {State.RESERVED})
        ) == sorted(admitted)


async def test_a_killed_owner_costs_its_callers_nothing_but_time(owners):
    """What is asked before, while and after there is no owner is answered once each, by the rules:
    nothing is lost, and nothing counts twice.
    """
    async with owners.store() as store:
        done: list[str] = []

        async def change(number: int) -> None:
            op = operation(f"op-{number}", request_id=f"r-{number}")
            await store.operations.begin(op)
            assert await store.operations.sent(op.id)
            assert await store.operations.commit(op.id, b"answer", f"v-{number}") == "COMMITTED"
            done.append(op.id)

        async def worker(numbers: range) -> None:
            for number in numbers:
                await change(number)

        working = [asyncio.create_task(worker(range(n, 400, 8))) for n in range(8)]
        for kill_at in (40, 150):
            await until(lambda: len(done) >= kill_at)  # noqa: B023 - awaited in its own turn
            await asyncio.to_thread(owners.kill)
            owners.start()
        await asyncio.gather(*working)
        kept = await store.operations.in_states(None, set(State))
        assert sorted(view.id for view in kept) == sorted(done)
        assert {view.state for view in kept} == {State.COMMITTED}
        assert len(done) == 400


async def test_places_and_processes_outlive_their_owner(owners):
    async with owners.store() as store:
        slot = Slot("streams", 1)
        assert await store.leases.lease("a", [slot], 60) == Leased()
        assert await store.leases.beat("one", 15) == (False, {"one"})
        assert await store.leases.beat("one", 15) == (True, {"one"})
        await asyncio.to_thread(owners.kill)
        owners.start()
        assert await store.leases.renew("a", ["streams"], 60)
        assert await store.leases.held(["streams"]) == {"streams": 1}
        assert await store.leases.lease("b", [slot], 60) != Leased()
        assert await store.leases.beat("one", 15) == (False, {"one"})


async def test_while_there_is_no_owner_the_store_is_down_and_rates_are_shared_out(tmp_path):
    settings = StoreSettings(path=tmp_path / "state.db", timeout_s=0.3)
    async with contextlib.AsyncExitStack() as stack:
        owner = await stack.enter_async_context(contextlib.AsyncExitStack())
        place = settings.path.with_suffix(".sock")
        await owner.enter_async_context(running_owner(settings, SystemClock(), place))
        opened = open_store(settings, SystemClock(), owner=OwnerAddress(place, 2))
        store = await stack.enter_async_context(opened)
        await owner.aclose()
        with pytest.raises(StoreDown, match="the owner of the store did not answer"):
            await store.operations.begin(operation())
        bucket = Bucket("calls", 0.01, 10)
        taken = [(await store.rates.take([bucket])).allowed for _ in range(10)]
        assert taken == [True] * 5 + [False] * 5


async def test_an_owner_outlives_its_parent_until_nobody_asks_any_more(owners):
    async with owners.store() as store:
        owners.orphan()
        await store.operations.begin(operation("one"))
        assert owners.process.poll() is None
    assert await asyncio.to_thread(owners.process.wait, LONG_S) == 0


def test_a_file_that_another_gateway_has_is_refused(owners, tmp_path):
    asyncio.run(_asked(owners))
    other = Owners(tmp_path, name="other")
    other.start()
    try:
        assert other.process.wait(LONG_S) == 1
    finally:
        other.close()


async def _asked(owners: Owners) -> None:
    async with owners.store():
        return
