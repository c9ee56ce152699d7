"""Hundreds of callers who leave at any await of their calls: what they held is free again, and what
they had begun is known.
"""

import asyncio
import gc
import random
import types

import pytest
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.tasks import Mode, Pace
from tests.functional.calls import until
from tests.quota.oracle import agreed
from tests.quota.scenes import gateway, limit, new_vault, often, outcome, posts, rate

SLOTS = 6
"""Of changes at a time."""


def requests(number, vault_id):
    """Reads, and changes that take each a way of its own through the gateway."""
    name = f"storm-{number}"
    tag = {"key": name, "value": "x"}
    return [
        ("GetVault", vault_pb2.GetVaultRequest(vault_id=vault_id)),
        ("ListVaults", vault_pb2.ListVaultsRequest(page_size=2)),
        ("CreateVault", new_vault(number, request_id=name)),
        ("UpdateVault", vault_pb2.UpdateVaultRequest(vault_id=vault_id, vault={"name": name})),
        ("CreateVaultTag", vault_pb2.CreateVaultTagRequest(vault_id=vault_id, tag=tag)),
        ("DeleteVaultTag", vault_pb2.DeleteVaultTagRequest(vault_id=vault_id, key=name)),
    ]


class Storm:
    """Ends the tasks of gRPC's server that serve calls, as it does itself when a caller leaves:
    each at the await whose number comes next from `at`; 0: not at all.
    """

    def __init__(self):
        self.at = iter(())
        self.awaits = []
        """How many each call had that was not cut."""
        self.cut = self.ended = 0

    def make_task(self, loop, coro, **more):
        serves = getattr(coro, "__name__", "") == "_handle_exceptions"
        return asyncio.Task(self._served(coro) if serves else coro, loop=loop, **more)

    async def _served(self, coro):
        try:
            return await self._until(coro, next(self.at, 0))
        finally:
            self.ended += 1

    @types.coroutine
    def _until(self, coro, last):
        seen, go_on, with_what = 0, coro.send, None
        while True:
            try:
                waited = go_on(with_what)
            except StopIteration as end:
                self.awaits.append(seen)
                return end.value
            seen += 1
            if seen == last:
                self.cut += 1
                asyncio.current_task().cancel()
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - handed on
                go_on, with_what = coro.throw, error
            else:
                go_on, with_what = coro.send, None


def held(world):
    """What calls and changes hold in this process, by kind."""
    gc.collect()
    client, ledger = world.app.client, world.app.recovery.ledger
    return {
        "changes": len(client._changes._running) + len(client._changes._late),
        "turns": len(client._changes._locks._locks),
        "waits": len(client._waits._open),
        "connections": sum(used + waiting for _, used, waiting in client.factory._shares.use()),
        "budgets": sum(budget.calls for budget in client.factory.budgets._few.values()),
        "ledger": len(ledger.under_way) + len(ledger.owed),
        "slots": world.app.slots.held(),
    }


@pytest.mark.parametrize("seed", range(often(1, 20)))
async def test_a_storm_of_callers_who_leave_holds_nothing(seed):
    chance, storm = random.Random(seed), Storm()
    asyncio.get_running_loop().set_task_factory(storm.make_task)
    limits = (
        limit("vaults", "tenant", 10_000),
        limit("concurrent_changes", "tenant", SLOTS),
        rate(100_000, 100_000),
    )
    async with gateway(*limits, pace=Pace(Mode.IMMEDIATE)) as world:
        vaults = world.stub(VaultServiceStub)
        made = [await outcome(world, vaults.CreateVault, new_vault(n)) for n in range(4)]
        for number in range(2):
            for rpc, request in requests(number, made[0].response.vault.id):
                await outcome(world, getattr(vaults, rpc), request)
        most = max(storm.awaits)

        for wave in range(2, often(12, 60)):
            calls = requests(wave, chance.choice(made).response.vault.id) * 4
            storm.at = iter([chance.randint(1, most) for _ in calls])
            storm.ended = 0
            asked = [getattr(vaults, rpc)(it, metadata=world.metadata()) for rpc, it in calls]
            await until(lambda: storm.ended == len(calls))  # noqa: B023 - waited for here
            for call in asked:
                call.cancel()
        storm.at = iter(())
        assert storm.cut > most, "else it was no storm"
        await until(lambda: not any(held(world).values()), 30)
        await agreed(world)

        # As many changes as there are slots are under way at once, and no more.
        before = len(posts(world))
        world.emulator.state.faults.add(
            {"kind": "delay", "seconds": 1, "match": {"operation": "CreateVault"}, "times": SLOTS}
        )
        slow = [vaults.CreateVault(new_vault(n), metadata=world.metadata()) for n in range(SLOTS)]
        await until(lambda: len(posts(world)) == before + SLOTS)
        assert (
            await outcome(world, vaults.CreateVault, new_vault(9))
        ).reason == "CONCURRENCY_LIMIT"
        await asyncio.gather(*slow)
