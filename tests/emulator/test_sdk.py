"""The vendor's own SDK, unchanged, runs every one of its operations against the emulator over real
HTTP.

It builds the paths, signs the requests and parses the replies; whatever it accepts here it would
accept from the cloud.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from huaweicloudsdkcbr.v1 import CbrClient
from huaweicloudsdkcbr.v1 import model as m
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException

from emulator.server import RunningEmulator
from emulator.settings import (
    ACCESS_KEY,
    DATABASES_PROJECT_ID,
    PAYMENTS_PROJECT_ID,
    SECRET_KEY,
    STANDBY_PROJECT_ID,
)

SERVER = "OS::Nova::Server"
OPERATIONS = {
    name
    for name in vars(CbrClient)
    if not name.startswith("_")
    and not name.endswith("_invoker")
    and name not in {"new_builder", "call_api"}
}


class Sdk:
    """The SDK for one project; every method that is called is noted in `called`."""

    drops: frozenset[str] = frozenset()
    """Members of answers that this SDK does not know."""

    def __init__(self, endpoint: str, project_id: str, called: set[str]) -> None:
        credentials = BasicCredentials(ACCESS_KEY, SECRET_KEY, project_id)
        self._client = (
            CbrClient.new_builder().with_endpoint(endpoint).with_credentials(credentials).build()
        )
        self._called = called

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self._called.add(name)
        method = getattr(self._client, name)
        request_type = getattr(m, "".join(part.title() for part in name.split("_")) + "Request")
        return lambda **fields: method(request_type(**fields))


def make_vault(
    sdk: Sdk, *resource_ids: str, name: str = "vault", tags: list[Any] | None = None, **billing: Any
) -> Any:
    wish = {
        "consistent_level": "crash_consistent",
        "object_type": "server",
        "protect_type": "backup",
        "size": 1000,
    }
    kind = {"disk": "OS::Cinder::Volume"}.get(billing.get("object_type", ""), SERVER)
    body = m.VaultCreate(
        name=name,
        billing=m.BillingCreate(**(wish | billing)),
        resources=[m.ResourceCreate(id=each, type=kind) for each in resource_ids],
        tags=tags,
    )
    return sdk.create_vault(body=m.VaultCreateReq(vault=body)).vault


def make_backup(sdk: Sdk, vault_id: str, name: str) -> Any:
    body = m.VaultBackupReq(
        checkpoint=m.VaultBackup(vault_id=vault_id, parameters=m.CheckpointParam(name=name))
    )
    checkpoint = sdk.create_checkpoint(body=body).checkpoint
    assert (checkpoint.status, checkpoint.vault.id) == ("protecting", vault_id)
    assert sdk.show_checkpoint(checkpoint_id=checkpoint.id).checkpoint.status == "available"
    found = sdk.list_backups(checkpoint_id=checkpoint.id, sort="created_at:desc", limit=10)
    assert found.count == len(found.backups)
    return found.backups[0]


def protectability(sdk: Sdk) -> list[str]:
    """Look at what can be protected; return ids of servers."""
    instances = sdk.list_protectable(protectable_type="server", limit=50, name="server-0").instances
    first = sdk.show_protectable(protectable_type="server", instance_id=instances[0].id).instance
    assert (first.name, first.size, len(first.children)) == ("server-01", 140, 2)
    asked = m.ProtectableAgentStatusResource(resource_id=first.id, resource_type=SERVER)
    status = sdk.check_agent(body=m.ProtectableAgentReq(agent_status=[asked])).agent_status[0]
    assert (status.resource_id, status.installed) == (first.id, True)
    region = sdk.show_replication_capabilities().regions[0]
    assert (region.name, region.replication_destinations) == ("cn-north-4", ["cn-east-3"])
    return [each.id for each in instances]


def vaults(sdk: Sdk, servers: list[str]) -> None:
    vault = make_vault(sdk, servers[0], tags=[m.Tag(key="team", value="payments")])
    assert (vault.billing.allocated, vault.billing.spec_code) == (140, "vault.backup.server.normal")
    assert [each.id for each in sdk.list_vault(name="vault", id=[vault.id]).vaults] == [vault.id]
    change = m.VaultUpdate(name="renamed", billing=m.BillingUpdate(size=900))
    assert (
        sdk.update_vault(vault_id=vault.id, body=m.VaultUpdateReq(vault=change)).vault.name
        == "renamed"
    )
    added = m.VaultAddResourceReq(resources=[m.ResourceCreate(id=servers[1], type=SERVER)])
    assert sdk.add_vault_resource(vault_id=vault.id, body=added).add_resource_ids == [servers[1]]
    paused = m.VaultSetResourceReq(resource_ids=[servers[1]], action="suspend")
    assert sdk.set_vault_resource(vault_id=vault.id, body=paused).set_resource_ids == [servers[1]]
    shown = sdk.show_vault(vault_id=vault.id).vault
    if "auto_protect" not in sdk.drops:
        assert {each.id: each.auto_protect for each in shown.resources} == {
            servers[0]: True,
            servers[1]: False,
        }
    other = make_vault(sdk, name="other")
    moved = m.VaultMigrateResourceReq(destination_vault_id=other.id, resource_ids=[servers[1]])
    assert sdk.migrate_vault_resource(vault_id=vault.id, body=moved).migrated_resources == [
        servers[1]
    ]
    removed = m.VaultRemoveResourceReq(resource_ids=[servers[1]])
    assert sdk.remove_vault_resource(vault_id=other.id, body=removed).remove_resource_ids == [
        servers[1]
    ]
    assert sdk.show_vault(vault_id=other.id).vault.resources == []
    batch = m.BatchUpdateVaultRequestBody(vault=m.VaultBatchUpdate(threshold=70))
    assert set(sdk.batch_update_vault(body=batch).updated_vaults_id) == {vault.id, other.id}
    summary = sdk.show_summary()
    assert (summary.size, summary.used_size) == (1900, 0)
    tags(sdk, vault.id)
    for each in (vault, other):
        assert sdk.delete_vault(vault_id=each.id).status_code == 204
    assert sdk.list_vault().count == 0
    kinds = {each.operation_type for each in sdk.list_op_logs().operation_logs}
    assert kinds == {"migrate_resources", "remove_resource", "vault_delete"}


def tags(sdk: Sdk, vault_id: str) -> None:
    sdk.create_vault_tags(
        vault_id=vault_id, body=m.VaultTagsCreateReq(tag=m.TagCreate(key="tier", value="gold"))
    )
    more = [
        m.BulkCreateAndDeleteTags(key="a", value="1"),
        m.BulkCreateAndDeleteTags(key="b", value="2"),
    ]
    body = m.BulkCreateAndDeleteVaultTagsReq(tags=more, action="create")
    assert sdk.batch_create_and_delete_vault_tags(vault_id=vault_id, body=body).status_code == 204
    assert sdk.delete_vault_tag(vault_id=vault_id, key="a").status_code == 204
    assert [each.key for each in sdk.show_vault_tag(vault_id=vault_id).tags] == [
        "team",
        "tier",
        "b",
    ]
    project = {each.key: each.values for each in sdk.show_vault_project_tag().tags}
    assert project == {"team": ["payments"], "tier": ["gold"], "b": ["2"]}
    query = m.VaultResourceInstancesReq(
        action="filter", tags=[m.TagsReq(key="tier", values=["gold"])]
    )
    found = sdk.show_vault_resource_instances(body=query)
    assert (found.total_count, found.resources[0].resource_detail.vault.id) == (1, vault_id)


def backups(sdk: Sdk, servers: list[str]) -> str:
    """Back up, restore, rename, read; return the backup's id."""
    vault = make_vault(sdk, servers[0], name="backups")
    backup = make_backup(sdk, vault.id, "nightly")
    shown = sdk.show_backup(backup_id=backup.id).backup
    assert (shown.name, shown.status, len(shown.children)) == ("nightly_server-01", "available", 2)
    mapping = m.BackupRestoreServerMapping(
        backup_id=shown.children[0].id, volume_id=shown.children[0].resource_id
    )
    restore = m.BackupRestore(server_id=servers[0], mappings=[mapping], power_on=True)
    assert (
        sdk.restore_backup(
            backup_id=backup.id, body=m.BackupRestoreReq(restore=restore)
        ).status_code
        == 202
    )
    log = sdk.list_op_logs(operation_type="restore", vault_id=vault.id).operation_logs[0]
    detail = sdk.show_op_log(operation_log_id=log.id).operation_log
    assert (detail.status, detail.extra_info.common.progress) == ("success", 100)
    assert detail.extra_info.restore.backup_id == backup.id
    renamed = m.BackupUpdateReq(backup=m.BackupUpdate(name="kept"))
    assert sdk.update_backup(backup_id=backup.id, body=renamed).backup.name == "kept"
    assert len(sdk.show_metadata(backup_id=backup.id).volumes) == 2
    usage = sdk.show_storage_usage().storage_usage
    assert [(each.resource_id, each.backup_count) for each in usage] == [(servers[0], 1)]
    expiry = m.UpdateExpirationTimeReq(expect_expiration_date="2199-06-30", time_zone="UTC+08:00")
    changed = sdk.update_expiration_time(vault_id=vault.id, body=expiry)
    assert (changed.affected_backups_count, changed.new_expiration_day) == (1, "2199-06-30")
    extra = make_backup(sdk, vault.id, "extra")
    assert sdk.delete_backup(backup_id=extra.id).status_code == 204
    assert [each.id for each in sdk.list_backups().backups] == [backup.id]
    return str(backup.id)


def shares(owner: Sdk, recipient: Sdk, backup_id: str) -> None:
    offered = owner.add_member(
        backup_id=backup_id, body=m.AddMembersReq(members=[DATABASES_PROJECT_ID])
    ).members[0]
    assert (offered.status, offered.dest_project_id) == ("pending", DATABASES_PROJECT_ID)
    assert [each.id for each in recipient.list_backups(own_type="shared").backups] == [backup_id]
    vault = make_vault(recipient, name="inbox")
    answer = m.UpdateMember(status="accepted", vault_id=vault.id)
    path = {"backup_id": backup_id, "member_id": DATABASES_PROJECT_ID}
    assert recipient.update_member_status(**path, body=answer).member.status == "accepted"
    assert owner.show_member_detail(**path).member.vault_id == vault.id
    assert owner.show_members_detail(backup_id=backup_id, status="accepted").count == 1
    assert owner.delete_member(**path).status_code == 204
    assert recipient.list_backups(own_type="shared").count == 0


def replication(sdk: Sdk, far: Sdk, backup_id: str) -> None:
    inbox = make_vault(far, name="replicas", protect_type="replication")
    external = sdk.list_external_vault(
        external_project_id=STANDBY_PROJECT_ID, region_id="cn-east-3", protect_type="replication"
    )
    assert [each.id for each in external.vaults] == [inbox.id]
    place = {
        "destination_project_id": STANDBY_PROJECT_ID,
        "destination_region": "cn-east-3",
        "destination_vault_id": inbox.id,
    }
    body = m.BackupReplicateReq(replicate=m.BackupReplicateReqBody(**place, name="copy"))
    started = sdk.copy_backup(backup_id=backup_id, body=body).replication
    record = sdk.show_backup(backup_id=backup_id).backup.replication_records[0]
    assert (record.id, record.status) == (started.replication_record_id, "success")
    replica = far.list_backups(image_type="replication").backups[0]
    assert (replica.id, replica.name, replica.vault_id) == (
        record.destination_backup_id,
        "copy",
        inbox.id,
    )
    source = sdk.show_backup(backup_id=backup_id).backup
    second = make_backup(sdk, source.vault_id, "second")
    whole = m.CheckpointReplicateReq(
        replicate=m.CheckpointReplicateParam(**place, vault_id=source.vault_id)
    )
    copied = sdk.copy_checkpoint(body=whole).replication.backups
    assert [each.backup_id for each in copied] == [second.id]
    assert far.list_backups(vault_id=inbox.id).count == 2


def synchronisation(sdk: Sdk) -> None:
    vault = make_vault(sdk, name="hybrid", cloud_type="hybrid", object_type="vmware")
    body = m.SyncReq(sync=m.SyncParam(auto_trigger=False, vault_id=vault.id))
    log_id = sdk.import_checkpoint(body=body).sync.operation_log_id
    assert sdk.show_op_log(operation_log_id=log_id).operation_log.operation_type == "sync"
    image = m.BackupSync(
        backup_id="3d1f2f61-58a5-4a51-9d2c-1f0f6d6f2f11",
        backup_name="imported",
        bucket_name="bucket",
        image_path="/image",
        resource_id="vm-1",
        resource_name="vm",
        resource_type="OS::Native::Server",
        created_at=1700000000,
    )
    synced = sdk.import_backup(body=m.BackupSyncReq(sync=[image])).sync[0]
    assert (
        sdk.show_op_log(
            operation_log_id=synced.operation_log_id
        ).operation_log.extra_info.sync.sync_backup_num
        == 1
    )
    assert sdk.show_backup(backup_id=image.backup_id).backup.name == "imported"


def policies(sdk: Sdk) -> None:
    trigger = m.PolicyTriggerReq(
        properties=m.PolicyTriggerPropertiesReq(
            pattern=["FREQ=DAILY;INTERVAL=1;BYHOUR=6;BYMINUTE=00"]
        )
    )
    definition = m.PolicyoODCreate(max_backups=3, day_backups=2, timezone="UTC+08:00")
    wish = m.PolicyCreate(
        name="daily", operation_type="backup", operation_definition=definition, trigger=trigger
    )
    policy = sdk.create_policy(body=m.PolicyCreateReq(policy=wish)).policy
    assert (
        policy.operation_definition.max_backups,
        policy.operation_definition.full_backup_interval,
    ) == (3, -1)
    vault = make_vault(sdk, name="with-policy")
    bound = sdk.associate_vault_policy(
        vault_id=vault.id, body=m.VaultAssociate(policy_id=policy.id)
    )
    assert bound.associate_policy.vault_id == vault.id
    shown = sdk.show_policy(policy_id=policy.id).policy
    assert [each.vault_id for each in shown.associated_vaults] == [vault.id]
    change = m.PolicyUpdate(enabled=False)
    assert (
        sdk.update_policy(policy_id=policy.id, body=m.PolicyUpdateReq(policy=change)).policy.enabled
        is False
    )
    released = sdk.disassociate_vault_policy(
        vault_id=vault.id, body=m.VaultDissociate(policy_id=policy.id)
    )
    assert released.dissociate_policy.policy_id == policy.id
    assert sdk.list_policies(operation_type="backup").count == 1
    assert sdk.delete_policy(policy_id=policy.id).status_code == 204
    with pytest.raises(ClientRequestException) as refusal:
        sdk.show_policy(policy_id=policy.id)
    assert (refusal.value.status_code, refusal.value.error_code) == (404, "BackupService.6000")


def organization(sdk: Sdk) -> None:
    trigger = m.PolicyTriggerReq(
        properties=m.PolicyTriggerPropertiesReq(
            pattern=["FREQ=WEEKLY;BYDAY=MO,TU;BYHOUR=14;BYMINUTE=00"]
        )
    )
    wish = m.OrganizationPolicyCreate(
        name="all",
        operation_type="backup",
        policy_name="nightly",
        policy_enabled=True,
        policy_operation_definition=m.PolicyoODCreate(retention_duration_days=30),
        policy_trigger=trigger,
    )
    policy = sdk.create_organization_policy(body=m.OrganizationPolicyCreateReq(policy=wish)).policy
    path = {"organization_policy_id": policy.id}
    shown = sdk.show_organization_policy(**path).policy
    assert shown.status == "syncing"
    assert shown.effective_scope or "effective_scope" in sdk.drops
    assert sdk.list_organization_policies(operation_type="backup").count == 1
    change = m.OrganizationPolicyUpdateReq(policy=m.OrganizationPolicyUpdate(name="some"))
    assert sdk.update_organization_policy(**path, body=change).policy.name == "some"
    assert {each.status for each in sdk.list_organization_policy_detail(**path).policies} == {
        "available"
    }
    assert sdk.delete_organization_policy(**path).status_code == 204


def agents(sdk: Sdk) -> None:
    host = m.AgentRegister(
        agent_id="agent-1",
        host_name="db",
        host_ip="10.0.0.1",
        host_os="linux",
        agent_version="1.0.0",
    )
    assert sdk.register_agent(body=m.AgentRegisterReq(agent=host)).agent.status == "normal"
    added = sdk.add_agent_path(
        agent_id="agent-1", body=m.AgentAddPathReq(add_path=["/etc", "/var"])
    )
    assert (added.added, added.existed) == (["/etc", "/var"], [])
    removed = sdk.remove_agent_path(
        agent_id="agent-1", body=m.AgentRemovePathReq(remove_path=["/etc", "/none"])
    )
    assert (removed.removed, removed.not_existed) == (["/etc"], ["/none"])
    assert [each.dir_path for each in sdk.show_agent(agent_id="agent-1").agent.paths] == ["/var"]
    gone = m.AgentUpdateReq(agent=m.AgentUpdate(status="uninstall"))
    assert sdk.update_agent(agent_id="agent-1", body=gone).agent.status == "uninstall"
    assert sdk.list_agent(agent_id=["agent-1"], limit="10").count == 1
    assert sdk.unregister_agent(agent_id="agent-1").status_code == 200
    assert sdk.list_agent().count == 0


def orders(sdk: Sdk) -> None:
    billing = m.PrePaidBillingCreate(
        consistent_level="crash_consistent",
        object_type="server",
        protect_type="backup",
        size=100,
        charging_mode="pre_paid",
        period_type="month",
        period_num=1,
        is_auto_pay=True,
    )
    body = m.VaultOrderCreateReqs(
        vault=m.PrePaidVaultOrder(name="bought", billing=billing, resources=[])
    )
    line = sdk.create_post_paid_vault(body=body).orders[0]
    assert sdk.show_vault(vault_id=line.resource_id).vault.billing.charging_mode == "pre_paid"
    spec = "vault.backup.server.normal"
    grown = m.CbcProductInfoOrderChange(product_id="p1", resource_size=200, resource_spec_code=spec)
    changed = sdk.change_order(
        body=m.CbcOrderChange(product_info=grown, resource_id=line.resource_id)
    )
    assert changed.ret_code == 0 or "ret_code" in sdk.drops
    again = m.CbcProductInfoUpdate(product_id="p1", resource_size=300, resource_spec_code=spec)
    updated = sdk.update_order(
        order_id=line.order_id, body=m.CbcUpdate(product_info=again, resource_id=line.resource_id)
    )
    assert updated.ret_code == "0"
    assert sdk.show_vault(vault_id=line.resource_id).vault.billing.size == 300
    vault = make_vault(sdk, name="to-period")
    period = m.ChangeToPeriod(
        charging_mode="pre_paid",
        period_type="year",
        period_num=1,
        is_auto_renew=False,
        is_auto_pay=True,
        vault_ids=[vault.id],
    )
    assert sdk.change_vault_charge_mode(body=period).order_id.startswith("CS")


def account(sdk: Sdk) -> None:
    assert sdk.list_features().body["replication.enable"] is True
    assert sdk.show_feature(feature_key="replication.source_region").body == {
        "replication.source_region": "cn-north-4"
    }
    names = {each.name for each in sdk.list_projects().projects}
    assert names == {"payments", "databases", "standby"}
    assert len(sdk.list_domain_projects(domain_name="acme").projects) == 3
    assert sdk.show_domain(source_project_id=PAYMENTS_PROJECT_ID).domain_name == "acme"
    started = sdk.migrate_domain(body=m.DomainMigrate(all_regions=True, reservation=0.2)).body
    assert started == {"cn-east-3": "running", "cn-north-4": "running"}
    assert sdk.show_migrate_status(all_regions=True).status == "success"


def every_story(client: Callable[[str], Any]) -> None:
    """Run all stories with clients like Sdk; `client` makes one for a project."""
    sdk, near, far = (
        client(project)
        for project in (PAYMENTS_PROJECT_ID, DATABASES_PROJECT_ID, STANDBY_PROJECT_ID)
    )
    servers = protectability(sdk)
    vaults(sdk, servers)
    backup_id = backups(sdk, servers)
    shares(sdk, near, backup_id)
    replication(sdk, far, backup_id)
    synchronisation(sdk)
    policies(sdk)
    organization(sdk)
    agents(sdk)
    orders(sdk)
    account(sdk)


# dateutil is optional to the SDK
@pytest.mark.filterwarnings("ignore:Unable to convert string to date:ImportWarning")
async def test_every_operation_of_the_sdk_works_unchanged(running: RunningEmulator) -> None:
    called: set[str] = set()
    await asyncio.to_thread(every_story, lambda project: Sdk(running.base_url, project, called))
    assert len(OPERATIONS) == 74
    assert called == OPERATIONS
    names = {
        route for entry in running.state.truth.entries() if (route := entry.operation) is not None
    }
    assert len(names) == len(OPERATIONS)
