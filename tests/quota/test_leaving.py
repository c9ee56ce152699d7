"""Callers who leave before their change is carried out."""

import asyncio

from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from tests.functional.calls import until
from tests.quota.scenes import gateway, limit, new_vault, outcome, posts


async def test_who_leaves_while_room_is_made_for_a_tag_keeps_nothing():
    async with gateway(limit("concurrent_changes", "tenant", 1)) as world:
        vaults = world.stub(VaultServiceStub)
        made = (await outcome(world, vaults.CreateVault, new_vault(1))).response.vault
        world.emulator.state.faults.add(
            {"kind": "delay", "seconds": 3, "match": {"operation": "ShowVault"}, "times": 1}
        )
        request = vault_pb2.CreateVaultTagRequest(
            vault_id=made.id, tag={"key": "a", "value": "b"}, request_id="once"
        )
        call = vaults.CreateVaultTag(request, metadata=world.metadata())
        await until(lambda: posts(world, "ShowVault"))
        call.cancel()
        ledger = world.app.recovery.ledger
        await until(lambda: not ledger.under_way)
        assert not posts(world, "CreateVaultTag")
        assert (await outcome(world, vaults.CreateVaultTag, request)).reason == "OK"


async def test_who_leaves_before_the_store_has_answered_keeps_no_slot(monkeypatch):
    async with gateway(limit("concurrent_changes", "tenant", 1)) as world:
        vaults, leases = world.stub(VaultServiceStub), world.app.store.leases
        taken = []

        async def late(*asked):
            taken.append(await leases_in_time(*asked))
            await asyncio.Event().wait()

        leases_in_time = leases.lease
        monkeypatch.setattr(leases, "lease", late)
        call = vaults.CreateVault(new_vault(1), metadata=world.metadata())
        await until(lambda: taken)
        monkeypatch.setattr(leases, "lease", leases_in_time)
        assert (await outcome(world, vaults.CreateVault, new_vault(2))).reason != "OK"
        call.cancel()
        for _ in range(100):
            again = await outcome(world, vaults.CreateVault, new_vault(3))
            if again.reason == "OK":
                break
            await asyncio.sleep(0.05)
        assert again.reason == "OK"
