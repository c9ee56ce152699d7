"""What a change costs the gateway while many submissions are open: their tasks are never listed, so
that none of them ends.

`python -m benchmarks.submissions` measures by itself, in about three minutes: CPU per change at a
rate that leaves the process idle most of the time, so that what it does for those that are open
counts as well.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from cbrgateway.v1 import checkpoint_pb2
from cbrgateway.v1.checkpoint_pb2_grpc import CheckpointServiceStub

from benchmarks import limits, processes
from benchmarks.goals import Verdict
from benchmarks.load import cpu_s_of
from benchmarks.payloads import VAULT_ID
from benchmarks.processes import LOAD_CORE
from benchmarks.ways import API_KEY

FEW: Final = 100
MANY: Final = 10_000
_RATE: Final = 8.0
_IN_FLIGHT: Final = 16
_LEAST_S: Final = 32.0
"""Long enough for everything that comes once in half a minute."""
_METADATA: Final = (("authorization", f"Bearer {API_KEY}"),)


@dataclass(frozen=True, slots=True)
class Costs:
    """CPU in microseconds per change, with few and with many submissions open.

    `kind`: of the store.
    """

    kind: str
    few_us: float
    many_us: float

    @property
    def verdict(self) -> Verdict:
        return Verdict(
            f"gateway CPU per CreateCheckpoint, {MANY} submissions open / {FEW}, {self.kind}",
            self.many_us / self.few_us,
            1.2,
        )


class _Caller:
    """`made`: how many changes it has made."""

    def __init__(self, channel: grpc.aio.Channel, pid: int) -> None:
        self._create: Any = CheckpointServiceStub(channel).CreateCheckpoint
        self._pid = pid
        self.made = 0

    async def change(self) -> None:
        wanted = checkpoint_pb2.CreateCheckpointRequest(checkpoint={"vault_id": VAULT_ID})
        await self._create(wanted, metadata=_METADATA, timeout=30)
        self.made += 1

    async def up_to(self, count: int) -> None:
        async def work() -> None:
            while self.made < count:
                await self.change()

        await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))

    async def cost_us(self, seconds: float) -> float:
        """CPU per change at the fixed rate."""
        before, made, begun = cpu_s_of(self._pid), self.made, time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            await self.change()
            await asyncio.sleep(max(0.0, (self.made - made) / _RATE - passed))
        return (cpu_s_of(self._pid) - before) / (self.made - made) * 1e6


async def _measured(kind: str, address: str, pid: int, seconds: float) -> Costs:
    async with grpc.aio.insecure_channel(address) as channel:
        caller = _Caller(channel, pid)
        # Around the middle of the time so many are open.
        await caller.up_to(max(1, round(FEW - seconds * _RATE / 2)))
        few_us = await caller.cost_us(seconds)
        await caller.up_to(MANY)
        await asyncio.sleep(1)
        return Costs(kind, few_us, await caller.cost_us(seconds))


def carry_out(seconds: float, tell: Callable[[str], None]) -> list[Costs]:
    """Both kinds of store."""
    found = []
    with tempfile.TemporaryDirectory() as folder, processes.module("stub", core=LOAD_CORE) as stub:
        directory = Path(folder)
        with processes.valkey(directory) as url:
            stores: list[tuple[str, dict[str, Any], dict[str, str]]] = [
                ("file", limits.with_file(directory), {}),
                ("Valkey", limits.with_valkey(), {"BENCH_VALKEY": url}),
            ]
            for kind, sections, environ in stores:
                tell(f"open submissions, {kind}")
                with processes.gateway(
                    directory, stub.address, "httptools", {"state": sections["state"]}, **environ
                ) as server:
                    found.append(asyncio.run(_measured(kind, server.address, server.pid, seconds)))
    return found


if __name__ == "__main__":
    for costs in carry_out(float(sys.argv[1]) if sys.argv[1:] else _LEAST_S, print):
        print(
            f"{costs.kind}: {costs.few_us:.0f} us at {FEW} open, {costs.many_us:.0f} us at {MANY};"
            f" ratio {costs.verdict.value:.2f}",
            flush=True,
        )
