"""Several gateways on one Valkey, before one emulator."""

import asyncio
import contextlib
import itertools
import signal
from dataclasses import dataclass

from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from tests.harness import World
from tests.quota.processes import Process
from tests.quota.scenes import new_vault, outcome

WORTH_REPEATING = {"QUOTA_STORE_DOWN", "OUTCOME_UNKNOWN", "REQUEST_IN_PROGRESS"}


@dataclass(frozen=True, slots=True)
class Fleet:
    """`worlds`: one for each gateway, with a channel to it."""

    processes: list[Process]
    worlds: list[World]
    environ: dict

    async def restart(self, index, number=signal.SIGTERM):
        """Ends one gateway and starts it again; its channel connects anew by itself."""
        await self.processes[index].end(number)
        await self.processes[index].start(**self.environ)
        await self.processes[index].serving()


@contextlib.asynccontextmanager
async def running_fleet(
    folder, valkey, count, *limits, state=None, quota=None, new=False, dying=()
):
    """The store has long to answer, as the machine may be busy; tests of outages give it less.

    `new`: it was in use by nobody before.

    `dying`: where the first gateways are killed.
    """
    if not new:
        assert valkey.command("SET {cbrgw}:began 0").startswith(b"+OK")
    sections = {
        "limits": list(limits),
        "quota": {"sweep_s": 0.5, "settle_s": 1, **(quota or {})},
        "state": {
            "kind": "valkey",
            "url": {"env": "VALKEY_URL"},
            "replicas": count,
            "timeout_s": 5,
            **(state or {}),
        },
    }
    environ = {"VALKEY_URL": valkey.url}
    async with (
        running_emulator(pace=Pace(Mode.IMMEDIATE)) as cloud,
        contextlib.AsyncExitStack() as stack,
    ):
        processes = [
            Process(folder, cloud, f"gateway-{number}", **sections) for number in range(count)
        ]
        for process, place in itertools.zip_longest(processes, dying):
            stack.push_async_callback(process.end)
            await process.start(
                **environ, **({"CBR_GATEWAY_FAILPOINT": f"{place}=kill"} if place else {})
            )
        yield Fleet(
            processes,
            [await stack.enter_async_context(process.world()) for process in processes],
            environ,
        )


def create(world, number, tenant="payments", within_s=20, **more):
    return outcome(
        world, world.stub(VaultServiceStub).CreateVault, new_vault(number, **more), tenant, within_s
    )


def delete(world, vault_id, tenant="payments"):
    return outcome(
        world,
        world.stub(VaultServiceStub).DeleteVault,
        vault_pb2.DeleteVaultRequest(vault_id=vault_id),
        tenant,
    )


def listed(world, tenant="payments"):
    return outcome(
        world, world.stub(VaultServiceStub).ListVaults, vault_pb2.ListVaultsRequest(), tenant
    )


async def until_ok(world, number, within_s=120, **more):
    async with asyncio.timeout(within_s):
        while (ended := await create(world, number, **more)).reason != "OK":
            assert ended.reason in WORTH_REPEATING
            await asyncio.sleep(0.2)
    return ended


async def at_most(together, calls):
    """What the calls end with, so many of them at once."""
    places = asyncio.Semaphore(together)

    async def one(call):
        async with places:
            return await call()

    return await asyncio.gather(*(one(call) for call in calls))
