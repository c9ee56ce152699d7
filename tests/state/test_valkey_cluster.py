"""A real cluster of three Valkey nodes: the gateway does not support one, and says so instead of
refusing call by call.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import yaml

from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import Admitted, Charge, Store, StoreDown, StoreSettings, WrongStore, open_store
from gateway.state.valkey import problem_with
from gateway.state.valkey_rules import RULES
from testkit.ports import free_port
from tests.functional.calls import until
from tests.functional.serving import configuration
from tests.state.address import Address
from tests.state.benches import operation
from tests.state.valkey_server import ValkeyProcess

SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


class Cluster:
    """Three nodes; `own` holds the slot of the gateway's keys, `other` another one."""

    def __init__(self, folder: Path) -> None:
        self.nodes = [ValkeyProcess(folder / f"node-{number}") for number in range(len(SLOTS))]
        for number, node in enumerate(self.nodes):
            (folder / f"node-{number}").mkdir()
            node.start(
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                str(free_port()),
                "--cluster-node-timeout",
                "1000",
            )
            first, last = SLOTS[number]
            assert node.command(f"CLUSTER ADDSLOTSRANGE {first} {last}") == b"+OK\r\n"
        self.slot = int(self.nodes[0].command(f"CLUSTER KEYSLOT {{{StoreSettings().prefix}}}")[1:])
        at = next(number for number, (_, last) in enumerate(SLOTS) if self.slot <= last)
        self.own, self.other, self.third = (
            self.nodes[(at + step) % len(SLOTS)] for step in range(3)
        )

    async def join(self) -> None:
        for node in self.nodes[1:]:
            bus = node.command("CONFIG GET cluster-port").split(b"\r\n")[4].decode()
            assert self.nodes[0].command(f"CLUSTER MEET 127.0.0.1 {node.port} {bus}") == b"+OK\r\n"
        await until(
            lambda: all(b"cluster_state:ok" in node.command("CLUSTER INFO") for node in self.nodes)
        )

    def slot_is(self, node: ValkeyProcess, state: str, of: ValkeyProcess | None = None) -> None:
        name = of.command("CLUSTER MYID").split(b"\r\n")[1].decode() if of is not None else ""
        assert node.command(f"CLUSTER SETSLOT {self.slot} {state} {name}") == b"+OK\r\n"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    try:
        yield cluster
    finally:
        for node in cluster.nodes:
            node.kill()


@pytest.fixture
async def cluster(nodes: Cluster) -> Cluster:
    await nodes.join()
    return nodes


def settings(url: str) -> StoreSettings:
    return StoreSettings(kind="valkey", url=Secret(url), timeout_s=5)


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    async with open_store(settings(url), SystemClock()) as store:
        yield store


def told(answer: str) -> str:
    return f"the shared store answers {answer}: {RULES[answer]}"


async def test_a_node_that_holds_other_keys_is_refused_at_the_start_and_by_check(cluster, tmp_path):
    with pytest.raises(WrongStore) as refused:
        async with opened(cluster.other.url):
            pass
    assert str(refused.value) == await problem_with(settings(cluster.other.url)) == told("MOVED")
    assert "give state.url the address of a server outside of a cluster" in told("MOVED")
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
