"""A real cluster of three Valkey nodes: all keys lie in one slot, and whoever holds it is found.
The address of one node alone is refused.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import Admitted, Charge, Store, StoreDown, StoreSettings, WrongStore, open_store
from gateway.state.valkey import problem_with
from gateway.state.valkey_rules import RULES
from tests.functional.calls import until
from tests.functional.serving import configuration
from tests.state.address import Address
from tests.state.benches import operation
from tests.state.cluster import Cluster, running_cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as running:
        yield running


def settings(url: str, **more) -> StoreSettings:
    return StoreSettings(kind="valkey", url=Secret(url), timeout_s=5, **more)


@contextlib.asynccontextmanager
async def opened(url: str, **more) -> AsyncIterator[Store]:
    async with open_store(settings(url, **more), SystemClock()) as store:
        yield store


def told(answer: str) -> str:
    return f"the shared store answers {answer}: {RULES[answer]}"


async def test_a_node_that_holds_other_keys_is_refused_at_the_start_and_by_check(cluster, tmp_path):
    with pytest.raises(WrongStore) as refused:
        async with opened(cluster.other.url):
            pass
    assert str(refused.value) == await problem_with(settings(cluster.other.url)) == told("MOVED")
    assert "give state.url nodes of the cluster: valkey+cluster://" in told("MOVED")
    (tmp_path / "url").write_text(cluster.other.url)
    (tmp_path / "gateway.yaml").write_text(
        yaml.safe_dump(
            configuration(state={"kind": "valkey", "url": {"file": str(tmp_path / "url")}})
        )
    )
    for command in (["serve"], ["check", "--online"]):
        arguments = (*command, "--config", str(tmp_path / "gateway.yaml"))
        environ = os.environ | {"AK": "access", "SK": "secret"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", *arguments, env=environ, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 1
        assert told("MOVED") in said.decode()


async def test_a_slot_that_moves_away_and_a_node_that_dies_are_told(cluster):
    address = Address(cluster.own.port)
    async with address.listening(), opened(address.url) as store:
        assert await store.operations.begin(operation("", Charge("vaults", 1, None))) == Admitted()
        cluster.slot_is(cluster.other, "IMPORTING", cluster.own)
        cluster.slot_is(cluster.own, "MIGRATING", cluster.other)
        with pytest.raises(StoreDown) as moving:
            await store.counters.usage(["vaults", "something that is not there"])
        assert str(moving.value) in {told("ASK"), told("TRYAGAIN")}
        cluster.slot_is(cluster.own, "STABLE")
        assert (await store.counters.usage(["vaults"]))["vaults"].reserved == 1
        for node in (cluster.other, cluster.own, cluster.third):
            cluster.slot_is(node, "NODE", cluster.other)
        with pytest.raises(StoreDown) as moved:
            await store.counters.fence()
        assert str(moved.value) == told("MOVED")
        address.leads_to = cluster.other.port
        await until_answers(store)
        cluster.third.kill()
        await until(lambda: b"cluster_state:fail" in cluster.other.command("CLUSTER INFO"))
        with pytest.raises(StoreDown) as dead:
            await store.counters.fence()
        assert str(dead.value) == told("CLUSTERDOWN")


async def until_answers(store: Store) -> None:
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(StoreDown):
                await store.life.epoch()
                return
            await asyncio.sleep(0.05)


async def test_whoever_holds_the_slot_is_found_and_followed(cluster):
    """By nodes of which one hangs and one is gone; also when the slot moves."""
    url = cluster.url.replace("valkey", "redis") + ",127.0.0.1:1"
    async with opened(url) as store:
        before = await store.life.epoch()
        assert await store.operations.begin(operation("", Charge("vaults", 1, 2))) == Admitted()
        keys = cluster.own.command("KEYS *", most=100_000)
        assert keys.count(b"{cbrgw}:") == keys.count(b"$")
        await moved(cluster)
        assert await until_answers(store) != before
        assert (await store.counters.usage(["vaults"]))["vaults"].reserved == 1


async def moved(cluster: Cluster) -> None:
    """The slot and its keys, from `own` to `other`; what is asked meanwhile finds nothing wrong."""
    cluster.slot_is(cluster.other, "IMPORTING", cluster.own)
    cluster.slot_is(cluster.own, "MIGRATING", cluster.other)
    async with opened(cluster.url, copies=0) as store:
        with pytest.raises(StoreDown) as moving:
            await store.operations.begin(operation("", Charge("vaults", 1, 1)))
    assert str(moving.value) == told("ASK")
    names = cluster.own.command(f"CLUSTER GETKEYSINSLOT {cluster.slot} 1000", most=100_000)
    keys = [line.decode() for line in names.split(b"\r\n") if line.startswith(b"{")]
    to = f'MIGRATE 127.0.0.1 {cluster.other.port} "" 0 5000 KEYS {" ".join(keys)}'
    assert cluster.own.command(to) == b"+OK\r\n"
    for node in (cluster.other, cluster.own, cluster.third):
        cluster.slot_is(node, "NODE", cluster.other)
