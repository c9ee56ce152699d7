"""A primary, its replicas and the sentinels that watch over them: real servers on 127.0.0.1."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

from tests.functional.calls import until
from tests.state.valkey_server import ValkeyProcess

NAME = "vault-store"
# Sentinels look more often than they would, and do not take a busy machine for a wrong clock.
_HASTE = (
    "SENTINEL DEBUG info-period 200 ping-period 100 ask-period 100 publish-period 200"
    " tilt-trigger 60000"
)
_COPIED = re.compile(rb"state=online,offset=[1-9]")
"""A replica that has said what it has: the primary counts it as connected before."""


class SentinelProcess(ValkeyProcess):
    """Watches the set from its first primary on."""

    def watch(self, primary: ValkeyProcess, *lines: str) -> None:
        file = self.folder / "sentinel.conf"
        text = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor {NAME} 127.0.0.1 {primary.port} 2",
            f"sentinel down-after-milliseconds {NAME} 500",
            f"sentinel failover-timeout {NAME} 3000",
            *lines,
        ]
        file.write_text("\n".join(text) + "\n")
        self._launch([str(file), "--sentinel"])


class SentinelSet:
    """`servers`: the first one is the primary at the beginning."""

    def __init__(self, folder: Path, replicas: int) -> None:
        self.folder = folder
        self.servers = [ValkeyProcess(self._place(f"server-{n}")) for n in range(1 + replicas)]
        self.sentinels = [SentinelProcess(self._place(f"sentinel-{n}")) for n in range(3)]

    def _place(self, name: str) -> Path:
        (self.folder / name).mkdir()
        return self.folder / name

    @property
    def url(self) -> str:
        return self.url_of("valkey", "")

    def url_of(self, scheme: str, user: str, rest: str = "") -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"{scheme}+sentinel://{user}{hosts}/{NAME}{rest}"

    @property
    def primary(self) -> ValkeyProcess:
        return self.servers[0]

    def command(self, *words: str, most: int = 1024) -> bytes:
        """Of the primary at the beginning."""
        return self.primary.command(*words, most=most)

    async def start(self) -> None:
        self.primary.start("--repl-diskless-sync-delay", "0")
        for replica in self.servers[1:]:
            replica.start("--replicaof", f"127.0.0.1 {self.primary.port}")
        for sentinel in self.sentinels:
            sentinel.watch(self.primary)
            assert sentinel.command(_HASTE).startswith(b"+OK")
        await until(self._whole, 60)

    def _whole(self) -> bool:
        """Each sentinel knows all servers and the other sentinels, and each replica has a copy."""
        others = len(self.servers) - 1
        told = self.command("INFO replication", most=10_000)
        return len(_COPIED.findall(told)) == others and all(
            [said[said.index(key) + 2] for key in (b"num-slaves", b"num-other-sentinels")]
            == [str(others).encode(), b"2"]
            for said in (
                sentinel.command(f"SENTINEL MASTER {NAME}", most=10_000).split(b"\r\n")
                for sentinel in self.sentinels
            )
        )

    def end(self) -> None:
        for process in (*self.sentinels, *self.servers):
            process.kill()


@contextlib.asynccontextmanager
async def running_set(folder: Path, replicas: int = 2) -> AsyncIterator[SentinelSet]:
    running = SentinelSet(folder, replicas)
    try:
        await running.start()
        yield running
    finally:
        running.end()
