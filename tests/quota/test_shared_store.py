"""Two gateways on one Valkey, before one emulator: they keep limits and request_ids together, and refuse growth while the Valkey cannot be asked."""

import asyncio
import contextlib
import signal
import time
from collections import Counter

import grpc
import pytest
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from tests.harness import World
from tests.quota.processes import Process
from tests.quota.scenes import MANY, limit, new_vault, outcome, posts, rate
from tests.state.valkey_server import running_valkey

pytestmark = pytest.mark.timeout(60 * MANY)
LISTING = {"operation": "ListVault"}


@pytest.fixture
def valkey(tmp_path):
    with running_valkey(tmp_path) as server:
        yield server


@contextlib.asynccontextmanager
async def pair(folder, valkey, *limits, **state):
    """Both gateways. The store has long to answer, as the machine may be busy; tests of outages give it less."""
    sections = {
        "limits": list(limits),
        "quota": {"sweep_s": 0.5, "settle_s": 1},
        "state": {"kind": "valkey", "url": {"env": "VALKEY_URL"}, "replicas": 2, "timeout_s": 5, **state},
    }
    async with running_emulator() as cloud, contextlib.AsyncExitStack() as stack:
        worlds = []
        for name in ("one", "two"):
            running = Process(folder, cloud.base_url, name, **sections).running(VALKEY_URL=valkey.url)
            _, channel = await stack.enter_async_context(running)
            worlds.append(World(None, cloud, channel))
        yield worlds


def create(world, number, **more):
    return outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(number, **more), within_s=20)


def listed(world):
    return outcome(world, world.stub(VaultServiceStub).ListVaults, vault_pb2.ListVaultsRequest())


async def until_ok(world, number, within_s=10):
    async with asyncio.timeout(within_s):
        while (ended := await create(world, number)).reason != "OK":  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.2)
    return ended


async def test_together_they_create_exactly_as_many_as_the_limit_allows(tmp_path, valkey):
    async with pair(tmp_path, valkey, limit("vaults", "tenant", 10)) as worlds:
        ended = []
        for first in range(0, 60 * MANY, 60):
            ended += await asyncio.gather(*(create(worlds[n % 2], n) for n in range(first, first + 60)))
        assert Counter(e.reason for e in ended) == {"OK": 10, "RESOURCE_COUNT_LIMIT": 60 * MANY - 10}
        assert len(posts(worlds[0], committed=True)) == 10


async def test_one_request_id_is_one_change_over_both(tmp_path, valkey):
    async with pair(tmp_path, valkey) as worlds:
        worlds[0].emulator.state.faults.add({"kind": "delay", "seconds": 0.3, "match": {"operation": "CreateVault"}})
        ended = await asyncio.gather(*(create(worlds[n % 2], 1, request_id="r-1") for n in range(20)))
        assert {e.reason for e in ended} == {"OK"}
        assert len({e.response.SerializeToString() for e in ended}) == 1
        assert Counter(e.trailers.get("replayed") for e in ended) == {None: 1, "true": 19}
        assert len(posts(worlds[0])) == 1


async def test_without_an_answer_of_the_store_nothing_grows_and_reads_go_on(tmp_path, valkey):
    async with pair(tmp_path, valkey, limit("vaults", "tenant", 5), rate(100, 200), timeout_s=0.4) as (world, _):
        made = await until_ok(world, 1)
        valkey.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            for refused in (await create(world, 2), await outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(3, request_id="r-3"))):
                assert (refused.reason, refused.code) == ("QUOTA_STORE_DOWN", grpc.StatusCode.UNAVAILABLE)
                assert refused.details["RetryInfo"].retry_delay.seconds == 1
            assert time.monotonic() - began < 4
            assert (await listed(world)).reason == "OK"
            gone = vault_pb2.DeleteVaultRequest(vault_id=made.response.vault.id)
            assert (await outcome(world, world.stub(VaultServiceStub).DeleteVault, gone)).reason == "OK"
            assert len(posts(world)) == 1
        finally:
            valkey.signal(signal.SIGCONT)
        await until_ok(world, 4)


async def test_a_store_that_lost_its_data_lets_nothing_grow_until_all_is_counted_again(tmp_path, valkey):
    async with pair(tmp_path, valkey, limit("vaults", "tenant", 3), timeout_s=0.4) as worlds:
        for number in range(2):
            await until_ok(worlds[number], number)
        valkey.kill()
        assert (await create(worlds[0], 2)).reason == "QUOTA_STORE_DOWN"
        worlds[0].emulator.state.faults.add({"kind": "status", "status": 403, "match": LISTING, "times": None})
        valkey.start()
        for _ in range(3):
            ended = await asyncio.gather(*(create(world, 2) for world in worlds))
            assert {e.reason for e in ended} == {"QUOTA_STORE_DOWN"}
            await asyncio.sleep(0.3)
        worlds[0].emulator.state.faults.remove()
        await until_ok(worlds[1], 3)
        ended = await asyncio.gather(*(create(world, n) for n in range(4) for world in worlds))
        assert {e.reason for e in ended} == {"RESOURCE_COUNT_LIMIT"}
        assert len(posts(worlds[0], committed=True)) == 3
