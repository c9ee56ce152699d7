"""Changes whose answer is lost after they were carried out, or before: the caller gets the right
response, and CBR does the work once.
"""

import pytest
from google.protobuf import json_format

from gateway.upstream.declaration import RetryClass
from tests.functional import stage
from tests.functional.calls import BINDINGS, arrived, caller, forget, order, tenant_for

LOST_AFTER = {
    "cut": ("cut", {"when": "after_commit"}),
    "504": ("status", {"when": "after_commit", "status": 504, "body": {}}),
    "truncated": ("truncate", {}),
    "garbage": ("garbage", {}),
}


async def update_agent(call):
    return {"agent_id": await stage.agent(call), "agent": {"status": "AGENT_STATUS_UNINSTALL"}}


async def add_paths(call):
    return {"agent_id": await stage.agent(call), "add_paths": ["/etc", "/var/lib/app"]}


async def remove_paths(call):
    wish = await add_paths(call)
    await call.ok("AgentService/AddAgentPaths", wish)
    return {"agent_id": wish["agent_id"], "remove_paths": ["/etc"]}


async def update_backup(call):
    return {"backup_id": (await stage.backup(call)).id, "backup": {"name": "before-upgrade"}}


async def update_member(call):
    owner = type(call)(call.channel, (("authorization", "Bearer key-of-payments"),))
    backup_id = await stage.shared_backup(owner)
    own = await stage.vault(call)
    member = stage.MEMBER["databases"]
    return {
        "backup_id": backup_id,
        "member_id": member,
        "status": "MEMBER_STATUS_ACCEPTED",
        "vault_id": own.id,
    }


async def update_organization_policy(call):
    change = {
        "name": "other",
        "policy_enabled": False,
        "policy_operation_definition": {"max_backups": 3},
        "policy_trigger": stage.TRIGGER,
    }
    return {"organization_policy_id": (await stage.organization_policy(call)).id, "policy": change}


async def update_policy(call):
    change = {
        "name": "other",
        "enabled": False,
        "operation_definition": {"max_backups": 3},
        "trigger": stage.TRIGGER,
    }
    return {"policy_id": (await stage.policy(call)).id, "policy": change}


async def update_vault(call):
    made = await stage.vault(call, 1)
    change = {
        "name": "other",
        "smn_notify": False,
        "threshold_percent": 70,
        "auto_expand": True,
        "billing": {"size_gib": 1200},
    }
    return {"vault_id": made.id, "vault": change}


async def add_resources(call):
    return {"vault_id": (await stage.vault(call)).id, "resources": await stage.servers(call, 2)}


async def remove_resources(call):
    made = await stage.vault(call, 2)
    return {"vault_id": made.id, "resource_ids": [made.resources[0].id]}


async def set_resources(call):
    made = await stage.vault(call, 2)
    return {
        "vault_id": made.id,
        "resource_ids": [made.resources[1].id],
        "action": "AUTO_PROTECT_ACTION_SUSPEND",
    }


async def associate(call):
    return {"vault_id": (await stage.vault(call)).id, "policy_id": (await stage.policy(call)).id}


async def associate_several(call):
    pair = await associate(call)
    return {"vault_id": pair["vault_id"], "add_policy_ids": [pair["policy_id"]]}


async def dissociate(call):
    pair = await associate(call)
    await call.ok("VaultService/AssociateVaultPolicy", pair)
    return pair


async def update_alerts(call):
    await stage.vault(call)
    await stage.vault(call)
    return {"vault": {"smn_notify": False, "threshold_percent": 85}}


async def create_tag(call):
    return {"vault_id": (await stage.vault(call)).id, "tag": {"key": "team", "value": "shop"}}


async def add_tags(call):
    tags = [{"key": "team", "value": "shop"}, {"key": "note", "value": ""}]
    return {"vault_id": (await stage.vault(call)).id, "action": "TAG_ACTION_CREATE", "tags": tags}


async def remove_tags(call):
    wish = await add_tags(call)
    await call.ok("VaultService/BatchUpdateVaultTags", wish)
    return wish | {"action": "TAG_ACTION_DELETE", "tags": [{"key": "team", "value": "shop"}]}


CONVERGE = {
    ("AgentService/UpdateAgent", update_agent),
    ("BackupService/UpdateBackup", update_backup),
    ("BackupShareService/UpdateBackupMember", update_member),
    ("OrganizationPolicyService/UpdateOrganizationPolicy", update_organization_policy),
    ("PolicyService/UpdatePolicy", update_policy),
    ("VaultService/UpdateVault", update_vault),
    ("VaultService/AddVaultResources", add_resources),
    ("VaultService/RemoveVaultResources", remove_resources),
    ("VaultService/SetVaultResources", set_resources),
    ("VaultService/AssociateVaultPolicy", associate),
    ("VaultService/DissociateVaultPolicy", dissociate),
    ("VaultService/UpdateAllVaultAlerts", update_alerts),
    ("VaultService/CreateVaultTag", create_tag),
    ("VaultService/BatchUpdateVaultTags", add_tags),
    ("VaultService/BatchUpdateVaultTags", remove_tags),
}
RESPONSE_NOT_SHOWN = {
    ("AgentService/AddAgentPaths", add_paths),
    ("AgentService/RemoveAgentPaths", remove_paths),
    ("VaultService/AssociateVaultPolicy", associate_several),
}
"""Changes of which a read shows that they are in force, but not what CBR answered."""


async def delete_agent(call):
    return {"agent_id": await stage.agent(call)}


async def delete_backup(call):
    return {"backup_id": (await stage.backup(call)).id}


async def delete_member(call):
    return {"backup_id": await stage.shared_backup(call), "member_id": stage.MEMBER["databases"]}


async def delete_organization_policy(call):
    return {"organization_policy_id": (await stage.organization_policy(call)).id}


async def delete_policy(call):
    return {"policy_id": (await stage.policy(call)).id}


async def delete_vault(call):
    return {"vault_id": (await stage.vault(call)).id}


async def delete_tag(call):
    wish = await create_tag(call)
    await call.ok("VaultService/CreateVaultTag", wish)
    return {"vault_id": wish["vault_id"], "key": "team"}


DELETE = {
    ("AgentService/UnregisterAgent", delete_agent),
    ("BackupService/DeleteBackup", delete_backup),
    ("BackupShareService/DeleteBackupMember", delete_member),
    ("OrganizationPolicyService/DeleteOrganizationPolicy", delete_organization_policy),
    ("PolicyService/DeletePolicy", delete_policy),
    ("VaultService/DeleteVault", delete_vault),
    ("VaultService/DeleteVaultTag", delete_tag),
}


async def create_vault(call):
    return stage.vault_request()


async def create_policy(call):
    return stage.policy_request()


async def create_checkpoint(call):
    return {"checkpoint": {"vault_id": (await stage.vault(call, 1)).id}}


async def restore(call):
    found = await stage.backup(call)
    return {"backup_id": found.id, "restore": {"server_id": found.resource_id}}


async def migrate(call):
    source, target = await stage.vault(call, 1), await stage.vault(call)
    return {
        "vault_id": source.id,
        "destination_vault_id": target.id,
        "resource_ids": [source.resources[0].id],
    }


ONCE = {
    ("VaultService/CreateVault", create_vault),
    ("PolicyService/CreatePolicy", create_policy),
    ("CheckpointService/CreateCheckpoint", create_checkpoint),
    ("BackupService/RestoreBackup", restore),
    ("VaultService/MigrateVaultResources", migrate),
}


def each(scenes):
    ordered = sorted(scenes, key=lambda scene: scene[1].__name__)
    return pytest.mark.parametrize(
        ("rpc", "scene"), ordered, ids=[scene.__name__ for _, scene in ordered]
    )


def someone(world, rpc):
    return caller(
        world, "databases" if rpc == "BackupShareService/UpdateBackupMember" else tenant_for(rpc)
    )


def content(message):
    """A response without its times and what follows its tasks, which differ from run to run."""

    def bare(value):
        if isinstance(value, dict):
            return {
                key: bare(inside)
                for key, inside in value.items()
                if not key.endswith(("_time", "_at")) and key != "submission"
            }
        return [bare(item) for item in value] if isinstance(value, list) else value

    return bare(json_format.MessageToDict(message, preserving_proto_field_name=True))


async def undisturbed(world, rpc, scene):
    """The response and the state when nothing goes wrong.

    The emulator makes the same ids every time.
    """
    call = someone(world, rpc)
    response = content(await call.ok(rpc, await scene(call)))
    world.emulator.state.reset()
    forget(world.app)
    return response


def commits(world, rpc, since):
    return [entry.committed for entry in arrived(world, rpc) if entry.seq > since]


def last_seq(world):
    return (
        world.emulator.state.truth.entries()[-1].seq if world.emulator.state.truth.entries() else 0
    )


@each(CONVERGE)
@pytest.mark.parametrize("loss", LOST_AFTER)
async def test_a_change_that_was_made_is_not_made_again(world, rpc, scene, loss):
    expected = await undisturbed(world, rpc, scene)
    call = someone(world, rpc)
    request, since = await scene(call), last_seq(world)
    kind, parts = LOST_AFTER[loss]
    order(world, kind, rpc, **parts)
    response = await call.ok(rpc, request)
    assert commits(world, rpc, since) == [True]
    assert content(response) == expected


@each(RESPONSE_NOT_SHOWN)
@pytest.mark.parametrize("loss", LOST_AFTER)
async def test_a_response_that_no_read_shows_is_not_made_up(world, rpc, scene, loss):
    call = someone(world, rpc)
    request, since = await scene(call), last_seq(world)
    kind, parts = LOST_AFTER[loss]
    order(world, kind, rpc, **parts)
    failed = await call.fails(rpc, request)
    assert failed.reason == "OUTCOME_UNKNOWN"
    assert commits(world, rpc, since) == [True]


@each(CONVERGE | RESPONSE_NOT_SHOWN)
async def test_a_change_that_was_not_made_is_made_at_the_second_attempt(world, rpc, scene):
    expected = await undisturbed(world, rpc, scene)
    call = someone(world, rpc)
    request, since = await scene(call), last_seq(world)
    order(world, "cut", rpc)
    response = await call.ok(rpc, request)
    assert commits(world, rpc, since) == [False, True]
    assert content(response) == expected


@each(DELETE)
async def test_a_delete_that_was_carried_out_is_a_success(world, rpc, scene):
    call = someone(world, rpc)
    request, since = await scene(call), last_seq(world)
    order(world, "cut", rpc, when="after_commit")
    response = await call.ok(rpc, request)
    assert content(response) == {}
    assert commits(world, rpc, since) == [True, False]
    again = await call.fails(rpc, request)
    assert again.code == "NOT_FOUND"


@each(DELETE)
async def test_a_delete_that_was_lost_is_carried_out_at_the_second_attempt(world, rpc, scene):
    call = someone(world, rpc)
    request, since = await scene(call), last_seq(world)
    order(world, "cut", rpc)
    await call.ok(rpc, request)
    assert commits(world, rpc, since) == [False, True]


@each(ONCE)
@pytest.mark.parametrize("loss", LOST_AFTER)
async def test_what_was_made_is_not_made_twice(world, rpc, scene, loss):
    call = someone(world, rpc)
    request, since = await scene(call), last_seq(world)
    kind, parts = LOST_AFTER[loss]
    order(world, kind, rpc, **parts)
    failed = await call.fails(rpc, {**request, "request_id": f"once-{loss}"})
    assert (failed.code, failed.reason, failed.facts["attempts"]) == (
        "UNAVAILABLE",
        "OUTCOME_UNKNOWN",
        "1",
    )
    assert commits(world, rpc, since) == [True]


def test_every_change_that_is_read_back_has_a_scene():
    converging = {
        rpc for rpc, binding in BINDINGS.items() if binding.retry_class is RetryClass.CONVERGE
    }
    assert {rpc for rpc, _ in CONVERGE | RESPONSE_NOT_SHOWN} == converging
    assert {rpc for rpc, _ in DELETE} == {
        rpc for rpc, binding in BINDINGS.items() if binding.retry_class is RetryClass.DELETE
    }
