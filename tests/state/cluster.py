"""A real cluster of three Valkey nodes on 127.0.0.1, each with a replica where a test asks so."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.state import StoreSettings
from testkit.ports import free_port
from tests.functional.calls import until
from tests.state.valkey_server import ValkeyProcess

SLOTS = ((0, 5460), (5461, 10922), (10923, 16383))


class Cluster:
    """`own` holds the slot of the gateway's keys, `other` and `third` the other slots."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.nodes = [self._node(f"node-{number}") for number in range(len(SLOTS))]
        self.replicas: list[ValkeyProcess] = []
        for node, (first, last) in zip(self.nodes, SLOTS, strict=True):
            assert node.command(f"CLUSTER ADDSLOTSRANGE {first} {last}") == b"+OK\r\n"
        self.slot = int(self.nodes[0].command(f"CLUSTER KEYSLOT {{{StoreSettings().prefix}}}")[1:])
        at = next(number for number, (_, last) in enumerate(SLOTS) if self.slot <= last)
        self.own, self.other, self.third = (
            self.nodes[(at + step) % len(SLOTS)] for step in range(3)
        )

    def _node(self, name: str) -> ValkeyProcess:
        (self.folder / name).mkdir()
        node = ValkeyProcess(self.folder / name)
        node.start(
            *("--cluster-enabled", "yes", "--cluster-port", str(free_port())),
            *("--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"),
        )
        return node

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"valkey+cluster://{hosts}"

    def command(self, *words: str, most: int = 1024) -> bytes:
        """Of the node that holds the gateway's keys at the beginning."""
        return self.own.command(*words, most=most)

    async def join(self, *, replicas: bool = False) -> None:
        self.replicas = [self._node(f"replica-{n}") for n in range(len(self.nodes) * replicas)]
        everybody = (*self.nodes, *self.replicas)
        for node in everybody[1:]:
            bus = node.command("CONFIG GET cluster-port").split(b"\r\n")[4].decode()
            assert self.nodes[0].command(f"CLUSTER MEET 127.0.0.1 {node.port} {bus}") == b"+OK\r\n"
        await until(
            lambda: all(b"cluster_state:ok" in node.command("CLUSTER INFO") for node in everybody),
            60,
        )
        for node, replica in zip(self.nodes, self.replicas, strict=False):
            await until(
                lambda to=node, of=replica: (
                    of.command(f"CLUSTER REPLICATE {name_of(to)}") == b"+OK\r\n"
                ),
                60,
            )
            await until(
                lambda to=node: b"state=online" in to.command("INFO replication", most=10_000), 60
            )

    def slot_is(self, node: ValkeyProcess, state: str, of: ValkeyProcess | None = None) -> None:
        name = name_of(of) if of is not None else ""
        assert node.command(f"CLUSTER SETSLOT {self.slot} {state} {name}") == b"+OK\r\n"

    def end(self) -> None:
        for node in (*self.nodes, *self.replicas):
            node.kill()


def name_of(node: ValkeyProcess) -> str:
    return node.command("CLUSTER MYID").split(b"\r\n")[1].decode()


@contextlib.asynccontextmanager
async def running_cluster(folder: Path, *, replicas: bool = False) -> AsyncIterator[Cluster]:
    cluster = Cluster(folder)
    try:
        await cluster.join(replicas=replicas)
        yield cluster
    finally:
        cluster.end()
