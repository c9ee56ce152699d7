"""What the state of an object keeps CBR from is told by `validate_only` just as the change itself
would be told: same reason, code and fields. And what a change takes away or will delete.
"""

import pytest

from gateway.operations import TRAITS
from tests.functional import sound_changes, stage
from tests.functional.calls import Failure, arrived

shared_world = sound_changes.shared_world

SMALL = {"vault": {"billing": {"size_gib": 10}}}
TRAFFIC = "OS::Sfs::Turbo"


def held(world, vault_id):
    return world.emulator.state.world.vaults[vault_id]


def kept(world, backup_id):
    return world.emulator.state.world.backups[backup_id]


async def filled(call, world):
    """A vault with a backup that takes 20 GiB of it."""
    backup = await stage.backup(call)
    kept(world, backup.id).size_mb = 20 * 1024
    return backup


async def below_use(call, world):
    return "VaultService/UpdateVault", SMALL | {"vault_id": (await filled(call, world)).vault_id}


async def pre_paid_size(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).charging_mode = "pre_paid"
    return "VaultService/UpdateVault", SMALL | {"vault_id": vault.id}


async def size_under_order(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).status = "lock"
    return "VaultService/UpdateVault", SMALL | {"vault_id": vault.id}


async def unlocked(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).locked = True
    return "VaultService/UpdateVault", {"vault_id": vault.id, "vault": {"locked": False}}


async def less_consistent(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).consistent_level = "app_consistent"
    level = {"consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT"}
    return "VaultService/UpdateVault", {"vault_id": vault.id, "vault": {"billing": level}}


async def locked_vault(call, world):
    vault_id = (await filled(call, world)).vault_id
    held(world, vault_id).locked = True
    return "VaultService/DeleteVault", {"vault_id": vault_id, "force": True}


async def strange_resource(call, _world):
    vault_id = (await stage.vault(call)).id
    return "VaultService/RemoveVaultResources", {"vault_id": vault_id, "resource_ids": ["r"]}


async def strange_suspended(call, _world):
    wish = (await strange_resource(call, _world))[1]
    return "VaultService/SetVaultResources", wish | {"action": "AUTO_PROTECT_ACTION_SUSPEND"}


async def strange_migrated(call, _world):
    wish = (await strange_resource(call, _world))[1]
    there = {"destination_vault_id": (await stage.vault(call)).id}
    return "VaultService/MigrateVaultResources", wish | there


async def migrated_to_itself(call, _world):
    vault = await stage.vault(call, 1)
    ids = [vault.resources[0].id]
    wish = {"vault_id": vault.id, "destination_vault_id": vault.id, "resource_ids": ids}
    return "VaultService/MigrateVaultResources", wish


async def migrated_to_another_kind(call, world):
    source, target = await stage.vault(call, 1), await stage.vault(call)
    held(world, target.id).object_type = "disk"
    wish = {"vault_id": source.id, "destination_vault_id": target.id}
    ids = {"resource_ids": [source.resources[0].id]}
    return "VaultService/MigrateVaultResources", wish | ids


def again(vault):
    return {"resources": [{"id": each.id, "type": each.type} for each in vault.resources]}


async def bound_elsewhere(call, _world):
    first, second = await stage.vault(call, 1), await stage.vault(call)
    return "VaultService/AddVaultResources", again(first) | {"vault_id": second.id}


async def bound_here(call, _world):
    vault = await stage.vault(call, 1)
    return "VaultService/AddVaultResources", again(vault) | {"vault_id": vault.id}


async def bound_to_replicas(call, world):
    vault, resources = await stage.vault(call), await stage.servers(call)
    held(world, vault.id).protect_type = "replication"
    return "VaultService/AddVaultResources", {"vault_id": vault.id, "resources": resources}


async def created_with_bound(call, _world):
    vault = await stage.vault(call, 1)
    return "VaultService/CreateVault", stage.vault_request("other", **again(vault))


async def charged_already(call, world):
    vault = await stage.vault(call)
    held(world, vault.id).charging_mode = "pre_paid"
    wish = {
        "vault_ids": [vault.id],
        "charging_mode": "CHARGING_MODE_PRE_PAID",
        "period_type": "PERIOD_TYPE_MONTH",
        "period_num": 1,
        "is_auto_pay": True,
    }
    return "VaultService/ChangeVaultChargingMode", wish


def order_of(vault, size_gib):
    product = {
        "product_id": "p",
        "resource_size_gib": size_gib,
        "resource_spec_code": "vault.backup.server.normal",
    }
    return {"resource_id": vault, "product_info": product}


async def order_for_post_paid(call, _world):
    return "OrderService/ChangeOrder", order_of((await stage.vault(call)).id, 2000)


async def order_below_use(call, world):
    vault_id = (await filled(call, world)).vault_id
    held(world, vault_id).charging_mode = "pre_paid"
    return "OrderService/ChangeOrder", order_of(vault_id, 10)


async def not_associated(call, _world):
    wish = {"vault_id": (await stage.vault(call)).id, "policy_id": (await stage.policy(call)).id}
    return "VaultService/DissociateVaultPolicy", wish


async def associated_with_replicas(call, world):
    wish = (await not_associated(call, world))[1]
    held(world, wish["vault_id"]).protect_type = "replication"
    return "VaultService/AssociateVaultPolicy", wish


async def associated_without_destination(call, world):
    wish = (await not_associated(call, world))[1]
    policy = world.emulator.state.world.policies[wish["policy_id"]]
    policy.operation_type = "replication"
    policy.definition |= {"destination_region": "r", "destination_project_id": "p"}
    return "VaultService/AssociateVaultPolicy", wish


async def destination_moved(call, world):
    _rpc, wish = await not_associated(call, world)
    await call.ok("VaultService/AssociateVaultPolicy", wish)
    patch = {"operation_definition": {"destination_region": "eu-west-0"}}
    return "PolicyService/UpdatePolicy", {"policy_id": wish["policy_id"], "policy": patch}


async def one_policy_more(call, _world):
    for number in range(32):
        await stage.policy(call, f"policy-{number}")
    return "PolicyService/CreatePolicy", stage.policy_request("one-more")


async def no_such_tag(call, _world):
    return "VaultService/DeleteVaultTag", {"vault_id": (await stage.vault(call)).id, "key": "team"}


async def full_of_tags(call, world):
    vault_id = (await stage.vault(call)).id
    held(world, vault_id).tags = {f"key-{number}": "" for number in range(20)}
    return vault_id


async def one_tag_more(call, world):
    vault_id = await full_of_tags(call, world)
    wish = {"vault_id": vault_id, "tag": {"key": "team", "value": "shop"}}
    return "VaultService/CreateVaultTag", wish


async def some_tags_more(call, world):
    vault_id = await full_of_tags(call, world)
    wish = {"vault_id": vault_id, "action": "TAG_ACTION_CREATE", "tags": [{"key": "team"}]}
    return "VaultService/BatchUpdateVaultTags", wish


async def deleted_in_use(call, world):
    backup_id = (await stage.backup(call)).id
    kept(world, backup_id).status = "restoring"
    return "BackupService/DeleteBackup", {"backup_id": backup_id}


async def deleted_twice(call, world):
    backup_id = (await stage.backup(call)).id
    kept(world, backup_id).status = "deleting"
    return "BackupService/DeleteBackup", {"backup_id": backup_id}


async def deleted_image(call, world):
    backup_id = (await stage.backup(call)).id
    kept(world, backup_id).image_ids.append("image")
    return "BackupService/DeleteBackup", {"backup_id": backup_id}


async def deleted_of_locked_vault(call, world):
    backup = await stage.backup(call)
    kept(world, backup.id).auto_trigger = True
    held(world, backup.vault_id).locked = True
    return "BackupService/DeleteBackup", {"backup_id": backup.id}


async def restored_replica(call, world):
    backup = await stage.backup(call)
    kept(world, backup.id).image_type = "replication"
    wish = {"backup_id": backup.id, "restore": {"server_id": backup.resource_id}}
    return "BackupService/RestoreBackup", wish


async def restored_from_frozen(call, world):
    backup = await stage.backup(call)
    held(world, backup.vault_id).status = "frozen"
    wish = {"backup_id": backup.id, "restore": {"server_id": backup.resource_id}}
    return "BackupService/RestoreBackup", wish


async def restored_to_a_disk(call, world):
    backup = await stage.backup(call)
    server = world.emulator.state.world.protectables[backup.resource_id]
    wish = {"backup_id": backup.id, "restore": {"volume_id": server.children[0].id}}
    return "BackupService/RestoreBackup", wish


async def shared_twice(call, _world):
    wish = {
        "backup_id": await stage.shared_backup(call),
        "project_ids": [stage.MEMBER["databases"]],
    }
    return "BackupShareService/AddBackupMembers", wish


async def shared_unfinished(call, world):
    backup_id = (await stage.backup(call)).id
    kept(world, backup_id).status = "error"
    wish = {"backup_id": backup_id, "project_ids": [stage.MEMBER["databases"]]}
    return "BackupShareService/AddBackupMembers", wish


async def no_such_member(call, _world):
    wish = {"backup_id": (await stage.backup(call)).id, "member_id": stage.MEMBER["databases"]}
    return "BackupShareService/DeleteBackupMember", wish


async def nothing_to_back_up(call, _world):
    return "CheckpointService/CreateCheckpoint", {
        "checkpoint": {"vault_id": (await stage.vault(call)).id}
    }


async def strange_backed_up(call, _world):
    vault, (free,) = await stage.vault(call, 1), await stage.servers(call, 1)
    parameters = {"resource_ids": [free["id"]]}
    wish = {"checkpoint": {"vault_id": vault.id, "parameters": parameters}}
    return "CheckpointService/CreateCheckpoint", wish


async def synchronised(call, _world):
    wish = {"sync": {"vault_id": (await stage.vault(call)).id, "auto_trigger": False}}
    return "CheckpointService/SyncCheckpoint", wish


SCENES = (
    below_use,
    pre_paid_size,
    size_under_order,
    unlocked,
    less_consistent,
    locked_vault,
    strange_resource,
    strange_suspended,
    strange_migrated,
    migrated_to_itself,
    migrated_to_another_kind,
    bound_elsewhere,
    bound_here,
    bound_to_replicas,
    created_with_bound,
    charged_already,
    order_for_post_paid,
    order_below_use,
    not_associated,
    associated_with_replicas,
    associated_without_destination,
    destination_moved,
    one_policy_more,
    no_such_tag,
    one_tag_more,
    some_tags_more,
    deleted_in_use,
    deleted_twice,
    deleted_image,
    deleted_of_locked_vault,
    restored_replica,
    restored_from_frozen,
    restored_to_a_disk,
    shared_twice,
    shared_unfinished,
    no_such_member,
    nothing_to_back_up,
    strange_backed_up,
    synchronised,
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_what_cbr_would_refuse_is_refused_before(world, payments, scene):
    rpc, wish = await scene(payments, world)
    await sound_changes.check_foreseen(world, payments, rpc, wish)


def test_every_change_that_a_state_can_keep_off_is_looked_at():
    """Others make something of nothing, or take whatever is there."""
    without = {each.rpc for each in TRAITS if each.refused is None}
    assert (
        without
        & {
            "VaultService/UpdateVault",
            "VaultService/DeleteVaultTag",
            "VaultService/DissociateVaultPolicy",
        }
        == set()
    )


async def of_policy(call, world, backups):
    """A policy and the backups that it took, oldest first."""
    policy, vault = await stage.policy(call), await stage.vault(call, 1)
    bound = {"vault_id": vault.id, "policy_id": policy.id}
    await call.ok("VaultService/AssociateVaultPolicy", bound)
    for _ in range(backups):
        wish = {"vault_id": vault.id, "parameters": {"policy_id": policy.id}}
        await call.ok("CheckpointService/CreateCheckpoint", {"checkpoint": wish})
    rows = (await call.ok("BackupService/ListBackups", {"vault_id": vault.id})).backups
    for age, row in enumerate(rows):
        kept(world, row.id).created_at -= 60 * age
    return policy, [row.id for row in reversed(rows)]


def keeping(policy, most, **more):
    patch = {"operation_definition": {"max_backups": most}}
    return {"policy_id": policy.id, "policy": patch, **more}


UPDATE = "PolicyService/UpdatePolicy"


async def test_a_policy_that_keeps_fewer_backups_needs_force(world, payments):
    policy, ids = await of_policy(payments, world, 3)
    for more in ({}, {"validate_only": True}):
        refused = await payments.fails(UPDATE, keeping(policy, 2, **more))
        assert (refused.reason, refused.code) == ("RETENTION_SHORTENED", "FAILED_PRECONDITION")
        assert refused.facts["backups"] == "2"  # The run's own backup is the third.
        assert refused.facts["newestBackup"] == ids[1]
    assert arrived(world, UPDATE) == []
    told = await payments.ok(UPDATE, keeping(policy, 2, validate_only=True, force=True))
    (loss,) = told.validation.losses
    assert (loss.kind, sorted(loss.ids)) == ("backup", sorted(ids[:2]))
    assert arrived(world, UPDATE) == []
    await payments.ok(UPDATE, keeping(policy, 2, force=True))


@pytest.mark.parametrize("most", [4, 10, -1])
async def test_a_policy_that_keeps_as_many_needs_none(world, payments, most):
    policy, _ = await of_policy(payments, world, 3)
    await payments.ok(UPDATE, keeping(policy, most))


async def test_a_policy_that_is_replaced_is_told(world, payments):
    first, second = await stage.policy(payments, "first"), await stage.policy(payments, "second")
    wish = {"vault_id": (await stage.vault(payments)).id, "policy_id": first.id}
    associate = "VaultService/AssociateVaultPolicy"
    none = await payments.ok(associate, wish | {"validate_only": True})
    assert list(none.validation.losses) == []
    await payments.ok(associate, wish)
    other = wish | {"policy_id": second.id}
    told = await payments.ok(associate, other | {"validate_only": True})
    (loss,) = told.validation.losses
    assert (loss.kind, loss.count, list(loss.ids)) == ("policy", 1, [first.id])
    await payments.ok(associate, other)
    (now,) = (
        await payments.ok("PolicyService/ListPolicies", {"vault_id": wish["vault_id"]})
    ).policies
    assert now.id == second.id


async def test_backups_that_would_go_sooner_are_told(payments):
    backup = await stage.backup(payments)
    wish = {
        "vault_id": backup.vault_id,
        "expiration_date": {"year": 2999, "month": 1, "day": 1},
        "time_zone": "UTC+08:00",
        "validate_only": True,
    }
    answer = await payments("VaultService/UpdateBackupExpiration", wish)
    assert not isinstance(answer, Failure)
    (loss,) = answer.validation.losses
    assert list(loss.ids) == [backup.id]


async def test_what_a_validation_looks_at_is_read_once(world, payments):
    """The etag, the guard and CBR's own rules look at the policy; the request that is made ready
    has read it twice, to see that it is there and to fill its definition up.
    """
    policy = await stage.policy(payments)
    etag = (await payments("PolicyService/GetPolicy", {"policy_id": policy.id})).policy.etag
    before = len(arrived(world, "PolicyService/GetPolicy"))
    patch = {"operation_definition": {"max_backups": 1}}
    wish = {"policy_id": policy.id, "etag": etag, "policy": patch}
    await payments.ok("PolicyService/UpdatePolicy", wish | {"validate_only": True})
    assert len(arrived(world, "PolicyService/GetPolicy")) - before == 1 + 2
