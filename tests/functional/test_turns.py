"""A repeat never undoes a newer change of ours: changes to one object wait for each other, whatever
their paths and verbs.
"""

import asyncio

import pytest

from tests.functional import stage
from tests.functional.calls import arrived, order, until


async def slowly_settled(world, rpc, read=None):
    """Loses the answer of the next such change, and lets its read-back or repeat take its time."""
    order(world, "cut", rpc, when="after_commit")
    if read:
        order(world, "delay", read, seconds=0.6)
    else:
        order(world, "delay", rpc, seconds=0.6, nth=2)


async def both(world, first, second, rpc):
    """The newer change is asked for when the older one's answer has been lost."""
    older = asyncio.create_task(first)
    await until(lambda: [entry for entry in arrived(world, rpc) if entry.committed])
    newer = asyncio.create_task(second)
    await asyncio.gather(older, newer)


async def test_a_repeated_add_does_not_bring_back_what_was_removed(world, payments):
    made, resources = await stage.vault(payments), await stage.servers(payments)
    vault, id_ = {"vault_id": made.id}, resources[0]["id"]
    await slowly_settled(world, "VaultService/AddVaultResources", "VaultService/GetVault")
    add = payments.ok("VaultService/AddVaultResources", {**vault, "resources": resources})
    remove = payments.ok("VaultService/RemoveVaultResources", {**vault, "resource_ids": [id_]})
    await both(world, add, remove, "VaultService/AddVaultResources")
    assert [r.id for r in (await payments.ok("VaultService/GetVault", vault)).vault.resources] == []


async def test_a_repeated_delete_of_a_tag_leaves_the_new_one(world, payments):
    vault = {"vault_id": (await stage.vault(payments)).id}
    await payments.ok(
        "VaultService/CreateVaultTag", {**vault, "tag": {"key": "team", "value": "a"}}
    )
    await slowly_settled(world, "VaultService/DeleteVaultTag")
    delete = payments.ok("VaultService/DeleteVaultTag", {**vault, "key": "team"})
    create = payments.ok(
        "VaultService/CreateVaultTag", {**vault, "tag": {"key": "team", "value": "b"}}
    )
    await both(world, delete, create, "VaultService/DeleteVaultTag")
    assert [
        (tag.key, tag.value)
        for tag in (await payments.ok("VaultService/ListVaultTags", vault)).tags
    ] == [("team", "b")]


async def test_an_agent_that_registers_again_is_not_unregistered_by_a_repeat(world, payments):
    agent_id = await stage.agent(payments)
    await slowly_settled(world, "AgentService/UnregisterAgent")
    await both(
        world,
        payments.ok("AgentService/UnregisterAgent", {"agent_id": agent_id}),
        stage.agent(payments),
        "AgentService/UnregisterAgent",
    )
    assert (
        await payments.ok("AgentService/GetAgent", {"agent_id": agent_id})
    ).agent.agent_id == agent_id


async def test_a_member_that_is_added_again_is_not_deleted_by_a_repeat(world, payments):
    backup = {"backup_id": await stage.shared_backup(payments)}
    member = stage.MEMBER["databases"]
    await slowly_settled(world, "BackupShareService/DeleteBackupMember")
    delete = payments.ok("BackupShareService/DeleteBackupMember", {**backup, "member_id": member})
    add = payments.ok("BackupShareService/AddBackupMembers", {**backup, "project_ids": [member]})
    await both(world, delete, add, "BackupShareService/DeleteBackupMember")
    assert (
        await payments.ok("BackupShareService/GetBackupMember", {**backup, "member_id": member})
    ).member


@pytest.mark.parametrize("rpc", ["VaultService/UpdateVault", "VaultService/CreateVault"])
async def test_a_change_of_all_vaults_and_one_of_a_single_vault_take_turns(world, payments, rpc):
    made = await stage.vault(payments)
    order(world, "delay", "VaultService/UpdateAllVaultAlerts", seconds=0.5)
    everything = asyncio.create_task(
        payments.ok("VaultService/UpdateAllVaultAlerts", {"vault": {"threshold_percent": 55}})
    )
    await until(lambda: arrived(world, "VaultService/UpdateAllVaultAlerts"))
    before = len(arrived(world, rpc))
    one = asyncio.create_task(
        payments.ok(
            rpc,
            (
                stage.vault_request()
                if "Create" in rpc
                else {"vault_id": made.id, "vault": {"name": "x"}}
            ),
        )
    )
    await asyncio.gather(everything, one)
    (first,) = arrived(world, "VaultService/UpdateAllVaultAlerts")
    (second,) = arrived(world, rpc)[before:]
    assert second.arrived_at - first.arrived_at >= 0.49


async def test_changes_of_two_vaults_do_not_wait_for_each_other(world, payments):
    one, other = await stage.vault(payments), await stage.vault(payments)
    order(world, "delay", "VaultService/UpdateVault", seconds=4)
    slow = asyncio.create_task(
        payments.ok("VaultService/UpdateVault", {"vault_id": one.id, "vault": {"name": "x"}})
    )
    await until(lambda: arrived(world, "VaultService/UpdateVault"))
    await payments.ok("VaultService/UpdateVault", {"vault_id": other.id, "vault": {"name": "y"}})
    assert not slow.done()
    slow.cancel()
