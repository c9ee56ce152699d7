"""What is bound, restored to, replicated to or kept until a day that CBR would not take is told by
`validate_only` just as the change itself would be told.
"""

import pytest

from emulator.settings import PAYMENTS_PROJECT_ID
from emulator.transitions import Mode, Pace
from tests.functional import sound_changes, stage
from tests.functional.calls import caller
from tests.functional.sound_changes import check_foreseen, place

shared_world = sound_changes.shared_world

STRANGE = "00000000-0000-4000-8000-000000000000"
ADD = "VaultService/AddVaultResources"
RESTORE = "BackupService/RestoreBackup"


def held(world, vault_id):
    return world.emulator.state.world.vaults[vault_id]


def protectable(world, kind, *, fits=lambda _each: True, name=""):
    return next(
        each
        for each in world.emulator.state.world.protectables.values()
        if each.project_id == PAYMENTS_PROJECT_ID
        and each.kind == kind
        and name in each.name
        and fits(each)
    )


def of(resource, **more):
    return {"id": resource.id, "type": resource.type, **more}


async def adding(call, *resources):
    return ADD, {"vault_id": (await stage.vault(call)).id, "resources": list(resources)}


async def missing_server(call, _world):
    return await adding(call, {"id": STRANGE, "type": "OS::Nova::Server"})


async def server_without_disks(call, world):
    return await adding(call, of(protectable(world, "server", name="diskless")))


async def one_of_two_unprotectable(call, world):
    good = (await stage.servers(call, 1))[0]
    return await adding(call, good, of(protectable(world, "server", name="diskless")))


async def file_system_in_a_server_vault(call, world):
    return await adding(call, of(protectable(world, "turbo")))


async def server_twice(call, _world):
    server = (await stage.servers(call, 1))[0]
    return await adding(call, server, server)


async def unknown_disk(call, _world):
    server = (await stage.servers(call, 1))[0]
    return await adding(call, server | {"extra_info": {"exclude_volumes": [STRANGE]}})


async def frozen_vault(call, world):
    rpc, wish = await adding(call, *await stage.servers(call, 1))
    held(world, wish["vault_id"]).status = "frozen"
    return rpc, wish


async def new_vault_with_missing(call, _world):
    server = {"id": STRANGE, "type": "OS::Nova::Server"}
    return "VaultService/CreateVault", stage.vault_request(resources=[server])


async def new_vault_with_unprotectable(call, world):
    server = of(protectable(world, "server", name="diskless"))
    return "VaultService/CreateVault", stage.vault_request(resources=[server])


async def new_vault_for_replicas_with_resources(call, _world):
    wish = stage.vault_request(resources=await stage.servers(call, 1))
    wish["vault"]["billing"] = stage.BILLING | {"protect_type": "PROTECT_TYPE_REPLICATION"}
    return "VaultService/CreateVault", wish


async def new_vault_with_a_replication_policy(call, world):
    policy = await stage.policy(call)
    kept = world.emulator.state.world.policies[policy.id]
    kept.operation_type = "replication"
    return "VaultService/CreateVault", stage.vault_request(backup_policy_id=policy.id)


async def ordered_vault_that_expands(call, _world):
    wish = await sound_changes.order_vault(call)
    wish["vault"]["auto_expand"] = True
    return "VaultService/OrderVault", wish


async def broken_vault_renamed(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).status = "error"
    return "VaultService/UpdateVault", {"vault_id": vault.id, "vault": {"name": "other"}}


async def deleted_twice(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).status = "deleting"
    return "VaultService/DeleteVault", {"vault_id": vault.id, "force": True}


async def frozen_vault_backed_up(call, world):
    vault = await stage.vault(call, 1)
    held(world, vault.id).status = "frozen"
    return "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": vault.id}}


async def kept_and_automatic(call, _world):
    vault = await stage.vault(call, 1)
    how = {"auto_trigger": True, "retention_duration_days": 7}
    return "CheckpointService/CreateCheckpoint", {
        "checkpoint": {"vault_id": vault.id, "parameters": how}
    }


async def backed_up_without_an_unknown_disk(call, _world):
    vault = await stage.vault(call, 1)
    bound = vault.resources[0]
    how = {"id": bound.id, "type": bound.type, "extra_info": {"exclude_volumes": [STRANGE]}}
    return "CheckpointService/CreateCheckpoint", {
        "checkpoint": {"vault_id": vault.id, "parameters": {"resource_details": [how]}}
    }


async def restored(call, target, **more):
    backup = await stage.backup(call)
    wish = {"server_id": target or backup.resource_id, **more}
    return RESTORE, {"backup_id": backup.id, "restore": wish}


async def restored_to_nowhere(call, _world):
    return await restored(call, STRANGE)


async def restored_to_a_strange_disk(call, world):
    backup = await stage.backup(call)
    child = world.emulator.state.world.backups[backup.id].children[0]
    mappings = [{"backup_id": child.id, "volume_id": STRANGE}]
    wish = {"server_id": backup.resource_id, "mappings": mappings}
    return RESTORE, {"backup_id": backup.id, "restore": wish}


def mapped(world, backup, child_index, disk_index):
    """A restore of one disk of the server to another of its disks."""
    parts = world.emulator.state.world.backups[backup.id].children
    disks = world.emulator.state.world.protectables[backup.resource_id].children
    mapping = {"backup_id": parts[child_index].id, "volume_id": disks[disk_index].id}
    wish = {"server_id": backup.resource_id, "mappings": [mapping]}
    return RESTORE, {"backup_id": backup.id, "restore": wish}


async def restored_to_a_small_disk(call, world):
    return mapped(world, await stage.backup(call), 1, 0)


async def restored_data_to_a_system_disk(call, world):
    backup = await stage.backup(call)
    disks = world.emulator.state.world.protectables[backup.resource_id].children
    disks[0].size = disks[1].size
    return mapped(world, backup, 1, 0)


async def replicated_to_no_replica_vault(call, _world):
    there = await place(call, "PROTECT_TYPE_BACKUP")
    backup = await stage.backup(call)
    return "BackupService/ReplicateBackup", {"backup_id": backup.id, "replicate": there}


async def replicated_to_a_frozen_vault(call, world):
    there = await place(call)
    held(world, there["destination_vault_id"]).status = "frozen"
    backup = await stage.backup(call)
    return "BackupService/ReplicateBackup", {"backup_id": backup.id, "replicate": there}


async def replicated_to_another_region(call, _world):
    there = await place(call) | {"destination_region": "eu-west-9"}
    backup = await stage.backup(call)
    return "BackupService/ReplicateBackup", {"backup_id": backup.id, "replicate": there}


async def vault_replicated_to_the_same_region(call, _world):
    there = await place(call) | {"destination_region": "cn-north-4"}
    vault_id = (await stage.backup(call)).vault_id
    return "CheckpointService/ReplicateCheckpoint", {"replicate": {"vault_id": vault_id, **there}}


async def empty_vault_replicated(call, _world):
    there = await place(call)
    vault_id = (await stage.vault(call, 1)).id
    return "CheckpointService/ReplicateCheckpoint", {"replicate": {"vault_id": vault_id, **there}}


async def associated_with_no_replica_vault(call, world):
    there = await place(call, "PROTECT_TYPE_BACKUP")
    policy = await stage.policy(call)
    kept = world.emulator.state.world.policies[policy.id]
    kept.operation_type = "replication"
    kept.definition |= {
        name: there[name] for name in ("destination_region", "destination_project_id")
    }
    return "VaultService/AssociateVaultPolicy", {
        "vault_id": (await stage.vault(call)).id,
        "policy_id": policy.id,
        "destination_vault_id": there["destination_vault_id"],
    }


async def replicating_nowhere(_call, _world):
    wish = stage.policy_request()
    wish["policy"]["operation_type"] = "POLICY_OPERATION_TYPE_REPLICATION"
    return "PolicyService/CreatePolicy", wish


async def synchronised_without_a_vault(_call, _world):
    return "BackupService/SyncBackups", dict(sound_changes.REQUESTS["BackupService/SyncBackups"])


async def synchronised_twice(call, _world):
    wish = await sound_changes.synchronise_backups(call)
    (row,) = wish["sync"]
    backup_id = (await stage.backup(call)).id
    return "BackupService/SyncBackups", {"sync": [row | {"backup_id": backup_id}]}


async def shared_with_oneself(call, _world):
    wish = {"backup_id": (await stage.backup(call)).id, "project_ids": [PAYMENTS_PROJECT_ID]}
    return "BackupShareService/AddBackupMembers", wish


async def shared_of_a_frozen_vault(call, world):
    backup = await stage.backup(call)
    held(world, backup.vault_id).status = "frozen"
    wish = {"backup_id": backup.id, "project_ids": [stage.MEMBER["databases"]]}
    return "BackupShareService/AddBackupMembers", wish


async def accepted_by_the_owner(call, _world):
    wish = {
        "backup_id": await stage.shared_backup(call),
        "member_id": stage.MEMBER["databases"],
        "status": "MEMBER_STATUS_REJECTED",
    }
    return "BackupShareService/UpdateBackupMember", wish


async def deleted_image_of_a_member(call, world):
    backup_id = await stage.shared_backup(call)
    (member,) = world.emulator.state.world.members[backup_id].values()
    member.image_id = "image"
    return "BackupService/DeleteBackup", {"backup_id": backup_id}


async def ordered_as_another_product(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).charging_mode = "pre_paid"
    product = {
        "product_id": "p",
        "resource_size_gib": 2000,
        "resource_spec_code": "vault.backup.turbo.normal",
    }
    return "OrderService/ChangeOrder", {"resource_id": vault.id, "product_info": product}


SCENES = (
    missing_server,
    server_without_disks,
    one_of_two_unprotectable,
    file_system_in_a_server_vault,
    server_twice,
    unknown_disk,
    frozen_vault,
    new_vault_with_missing,
    new_vault_with_unprotectable,
    new_vault_for_replicas_with_resources,
    new_vault_with_a_replication_policy,
    ordered_vault_that_expands,
    broken_vault_renamed,
    deleted_twice,
    frozen_vault_backed_up,
    kept_and_automatic,
    backed_up_without_an_unknown_disk,
    restored_to_nowhere,
    restored_to_a_strange_disk,
    restored_to_a_small_disk,
    restored_data_to_a_system_disk,
    replicated_to_no_replica_vault,
    replicated_to_a_frozen_vault,
    replicated_to_another_region,
    vault_replicated_to_the_same_region,
    empty_vault_replicated,
    associated_with_no_replica_vault,
    replicating_nowhere,
    synchronised_without_a_vault,
    synchronised_twice,
    shared_with_oneself,
    shared_of_a_frozen_vault,
    accepted_by_the_owner,
    deleted_image_of_a_member,
    ordered_as_another_product,
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_what_cbr_would_not_take_is_refused_before(world, payments, scene):
    await check_foreseen(world, payments, *await scene(payments, world))


async def test_the_one_of_many_that_is_refused_is_named(world, payments):
    rpc, wish = await one_of_two_unprotectable(payments, world)
    told = await check_foreseen(world, payments, rpc, wish)
    assert wish["resources"][1]["id"] in told.message
    wish["resources"][1]["id"] = STRANGE
    told = await check_foreseen(world, payments, rpc, wish)
    assert STRANGE in told.message


async def test_a_resource_that_takes_other_disks_in_its_vault_is_sound(world, payments):
    vault = await stage.vault(payments, 1)
    server = world.emulator.state.world.protectables[vault.resources[0].id]
    disks = {"exclude_volumes": [server.children[1].id]}
    wish = {"vault_id": vault.id, "resources": [of(server, extra_info=disks)]}
    await payments.ok(ADD, wish | {"validate_only": True})
    await payments.ok(ADD, wish)


@pytest.mark.parametrize("zone", ["UTC+08:00", "UTC-12:00", "UTC+14:00"])
@pytest.mark.parametrize("day", [(2020, 1, 1), (2024, 2, 29)], ids=["past", "leap day"])
async def test_an_expiry_that_is_over_is_told(world, payments, day, zone):
    year, month, number = day
    wish = {
        "vault_id": (await stage.vault(payments)).id,
        "expiration_date": {"year": year, "month": month, "day": number},
        "time_zone": zone,
    }
    told = await check_foreseen(world, payments, "VaultService/UpdateBackupExpiration", wish)
    assert told.fields == ["expiration_date"]


async def test_a_removal_that_is_under_way_is_told(world, payments):
    vault = await stage.vault(payments, 1)
    held(world, vault.id).resources[vault.resources[0].id].protect_status = "removing"
    wish = {"vault_id": vault.id, "resource_ids": [vault.resources[0].id], "validate_only": True}
    failed = await payments.fails("VaultService/RemoveVaultResources", wish)
    assert failed.reason == "RESOURCE_BUSY"


async def test_work_on_the_vault_of_a_backup_is_told(world, payments):
    backup = await stage.backup(payments)
    world.emulator.state.world.tasks.set_pace(Pace(Mode.TIME, duration_s=3600))
    await payments.ok(
        "CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": backup.vault_id}}
    )
    checkpoint = {"checkpoint": {"vault_id": backup.vault_id}}
    restore = {"backup_id": backup.id, "restore": {"server_id": backup.resource_id}}
    for rpc, wish in (("CheckpointService/CreateCheckpoint", checkpoint), (RESTORE, restore)):
        told = (await payments.ok(rpc, wish | {"validate_only": True})).validation
        assert len(told.running_task_ids) == 1


async def test_a_share_is_not_accepted_into_a_vault_of_another_kind(world, payments):
    backup_id, member = await stage.shared_backup(payments), caller(world, "databases")
    wish = {
        "backup_id": backup_id,
        "member_id": stage.MEMBER["databases"],
        "status": "MEMBER_STATUS_ACCEPTED",
        "vault_id": (await stage.vault(member)).id,
    }
    held(world, wish["vault_id"]).object_type = "disk"
    told = await check_foreseen(world, member, "BackupShareService/UpdateBackupMember", wish)
    assert told.reason == "COMBINATION_INVALID"
