"""Objects as replies show them: the full set of keys seen in live traffic, more than the published models have."""

from typing import Any

from emulator.clock import naive
from emulator.model import (
    Agent,
    Backup,
    BoundResource,
    Checkpoint,
    Member,
    OrganizationPolicy,
    Policy,
    Protectable,
    ReplicationRecord,
    Vault,
)
from emulator.tasks import Task
from emulator.world import World

JsonObject = dict[str, Any]


def vault_view(world: World, vault: Vault) -> JsonObject:
    """Return a vault. Source: `Vault` plus the observed keys supplier, cross_account, frozen and so on."""
    per_resource: dict[str, tuple[int, int]] = {}
    used = 0
    for backup in world.backups_in(vault.id):
        count, size = per_resource.get(backup.resource_id, (0, 0))
        per_resource[backup.resource_id] = (count + 1, size + backup.size_mb)
        used += backup.size_mb
    return {
        "id": vault.id,
        "name": vault.name,
        "description": vault.description,
        "resources": [
            _bound_view(resource, *per_resource.get(resource.id, (0, 0))) for resource in vault.resources.values()
        ],
        "provider_id": vault.product.provider_id,
        "created_at": naive(vault.created_at),
        "project_id": vault.project_id,
        "enterprise_project_id": vault.enterprise_project_id,
        "auto_bind": vault.auto_bind,
        "bind_rules": vault.bind_rules,
        "auto_expand": vault.auto_expand,
        "smn_notify": vault.smn_notify,
        "threshold": vault.threshold,
        "user_id": vault.user_id,
        "billing": _billing_view(vault, used),
        "tags": tags_view(vault),
        "backup_name_prefix": vault.backup_name_prefix,
        "demand_billing": vault.demand_billing,
        "cbc_delete_count": 0,
        "frozen": vault.status == "frozen",
        "availability_zone": vault.availability_zone,
        "sys_lock_source_service": vault.sys_lock_source_service,
        "supplier": "",
        "locked": vault.locked,
        "cross_account": False,
        "cross_account_urn": "",
    }


def _bound_view(resource: BoundResource, backup_count: int, backup_size_mb: int) -> JsonObject:
    return {
        "id": resource.id,
        "type": resource.type,
        "name": resource.name,
        "auto_protect": resource.auto_protect,
        "size": resource.size,
        "backup_size": backup_size_mb,
        "backup_count": backup_count,
        "protect_status": resource.protect_status,
        "extra_info": resource.extra_info,
    }


def _billing_view(vault: Vault, used_mb: int) -> JsonObject:
    return {
        "allocated": vault.allocated,
        "cloud_type": vault.cloud_type,
        "consistent_level": vault.consistent_level,
        "frozen_scene": None,
        "charging_mode": vault.charging_mode,
        "order_id": vault.order_id,
        "product_id": vault.product_id,
        "protect_type": vault.protect_type,
        "object_type": vault.object_type,
        "spec_code": vault.spec_code,
        "is_multi_az": vault.is_multi_az,
        "is_double_az": vault.is_multi_az,
        "used": used_mb,
        "storage_unit": None,
        "status": vault.status,
        "size": vault.size,
        "partner_bp_id": None,
    }


def tags_view(vault: Vault) -> list[JsonObject]:
    """Return `[{"key", "value"}]`."""
    return [{"key": key, "value": value} for key, value in vault.tags.items()]


def backup_view(world: World, backup: Backup, *, detail: bool = False, records: bool = False) -> JsonObject:
    """Return a backup; `detail` is ShowBackup (children, records, enterprise project), lists leave those out."""
    view: JsonObject = {
        "id": backup.id,
        "name": backup.name,
        "description": backup.description,
        "checkpoint_id": backup.checkpoint_id,
        "project_id": backup.project_id,
        "vault_id": backup.vault_id,
        "provider_id": backup.provider_id,
        "resource_id": backup.resource_id,
        "resource_name": backup.resource_name,
        "resource_type": backup.resource_type,
        "resource_az": backup.resource_az,
        "resource_size": backup.resource_size,
        "status": backup.status,
        "image_type": backup.image_type,
        "incremental": backup.incremental,
        "version": 3,
        "parent_id": backup.parent_id,
        "scheduled_operation_id": backup.policy_id,
        "created_at": naive(backup.created_at),
        "protected_at": naive(backup.protected_at),
        "updated_at": naive(backup.updated_at),
        "expired_at": naive(backup.expired_at),
        "children": [backup_view(world, child) for child in backup.children] if detail else [],
        "extend_info": _extend_info(world, backup),
        "replication_records": [
            _record_view(world, record) for record in (backup.records if detail or records else ())
        ],
    }
    if detail:
        view["enterprise_project_id"] = backup.enterprise_project_id
    return view


def _extend_info(world: World, backup: Backup) -> JsonObject:
    task = world.tasks.log.get(backup.task_id or "")
    whole_server = bool(backup.children)
    images = [{"image_id": image_id} for image_id in backup.image_ids]
    info: JsonObject = {
        "auto_trigger": backup.auto_trigger,
        "bootable": None if whole_server else backup.bootable,
        "os_images_data": images or None,
        "progress": world.tasks.progress(task) if task is not None else None,
        "snapshot_id": backup.snapshot_id,
        "support_lld": True,
        "supported_restore_mode": None if not whole_server else "backup" if backup.protected_at else "na",
        "system_disk": backup.bootable and not whole_server,
        "is_multi_az": False,
        "encrypted_algorithm": None,
        "is_dec": False,
        "app_consistency": None,
    }
    if whole_server:
        info["contain_system_disk"] = any(child.bootable for child in backup.children)
        info["architecture"] = "x86_64"
        info["app_consistency"] = {
            "app_consistency": "0",
            "app_consistency_status": "0",
            "app_consistency_error_code": "0",
            "app_consistency_error_message": "",
        }
    else:
        info["encrypted"] = backup.encrypted
    return info


def _record_view(world: World, record: ReplicationRecord) -> JsonObject:
    task = world.tasks.log.get(record.task_id)
    return {
        "id": record.id,
        "status": record.status,
        "created_at": naive(record.created_at),
        "vault_id": record.source.vault_id,
        "source_backup_id": record.source.id,
        "source_checkpoint_id": record.source.checkpoint_id,
        "source_project_id": record.source.project_id,
        "source_region": record.source_region,
        "destination_backup_id": record.destination_backup_id,
        "destination_checkpoint_id": record.destination_checkpoint_id,
        "destination_project_id": record.destination_project_id,
        "destination_region": record.destination_region,
        "destination_vault_id": record.destination_vault_id,
        "extra_info": {
            "progress": world.tasks.progress(task) if task is not None else 0,
            "fail_code": record.fail_code,
            "fail_reason": record.fail_reason,
            "auto_trigger": record.auto_trigger,
            "destination_vault_id": record.destination_vault_id,
        },
    }


def checkpoint_view(checkpoint: Checkpoint, *, created: bool) -> JsonObject:
    """Return a checkpoint; the answer to its creation has skipped_resources and extra_info, later reads have not."""
    vault: JsonObject = {
        "id": checkpoint.vault_id,
        "name": checkpoint.vault_name,
        "resources": [
            {
                "id": resource.id,
                "type": resource.type,
                "name": resource.name,
                "protect_status": resource.protect_status,
                "resource_size": str(resource.size),
                "extra_info": None,
            }
            for resource in checkpoint.resources
        ],
    }
    extra: JsonObject | None = None
    if created:
        vault["skipped_resources"] = checkpoint.skipped
        extra = {
            "name": checkpoint.name,
            "description": checkpoint.description,
            "retention_duration": checkpoint.retention_days,
        }
    else:
        vault["provider_id"] = checkpoint.provider_id
    return {
        "id": checkpoint.id,
        "project_id": checkpoint.project_id,
        "status": checkpoint.status,
        "created_at": naive(checkpoint.created_at),
        "vault": vault,
        "extra_info": extra,
    }


def task_view(world: World, task: Task) -> JsonObject:
    """Return an operation log."""
    return {
        "id": task.id,
        "operation_type": task.type,
        "status": task.status,
        "project_id": task.project_id,
        "provider_id": task.provider_id,
        "vault_id": task.vault_id,
        "vault_name": task.vault_name,
        "policy_id": task.policy_id,
        "checkpoint_id": task.checkpoint_id,
        "created_at": naive(task.created_at),
        "started_at": naive(task.created_at),
        "ended_at": naive(task.ended_at),
        "updated_at": naive(task.updated_at),
        "error_info": {
            "code": task.outcome.code if task.ended_at is not None else "",
            "message": task.outcome.message if task.ended_at is not None else "",
        },
        "extra_info": {
            "common": {
                "progress": world.tasks.progress(task),
                "request_id": task.request_id,
                "task_id": task.task_id,
            },
            "resource": task.resource,
            task.part: task.details,
        },
    }


def protectable_view(world: World, item: Protectable) -> JsonObject:
    """Return a resource that can be protected, with the whole vault that protects it already."""
    vault = world.vault_of(item.project_id, item.id)
    code, reason, message = item.refusal or ("", "", "")
    verdict: JsonObject = {
        "result": item.refusal is None,
        "code": code,
        "reason": reason,
        "vault": vault_view(world, vault) if vault is not None else None,
    }
    if item.refusal is not None:
        verdict["message"] = message
    return {
        "id": item.id,
        "type": item.type,
        "name": item.name,
        "size": item.size,
        "status": item.status,
        "protectable": verdict,
        "detail": _detail(item),
        "children": [
            {
                "id": child.id,
                "name": child.name,
                "size": child.size,
                "status": child.status,
                "type": child.type,
                "children": [],
                "vault_id": vault.id if vault is not None else None,
                "vault_name": vault.name if vault is not None else None,
                "detail": _detail(child),
            }
            for child in item.children
        ],
    }


def _detail(item: Protectable) -> JsonObject:
    detail: JsonObject = {"id": item.id, "name": item.name, "status": item.status}
    if item.kind == "server":
        detail["created"] = f"{(naive(item.created_at) or '')[:19]}Z"
        detail["flavor"] = {"id": "s6.large.2", "vcpus": "2", "ram": "4096", "disk": "0"}
        detail["OS-EXT-AZ:availability_zone"] = item.az
        detail["os-extended-volumes:volumes_attached"] = [
            {
                "id": child.id,
                "device": f"/dev/vd{'abcdefghijkl'[index % 12]}",
                "bootIndex": "0" if child.bootable else None,
                "delete_on_termination": "true",
            }
            for index, child in enumerate(item.children)
        ]
    elif item.kind == "disk":
        detail |= {
            "size": item.size,
            "volume_type": "SAS",
            "bootable": str(item.bootable).lower(),
            "encrypted": item.encrypted,
            "shareable": False,
        }
    return detail


def policy_view(world: World, policy: Policy, *, created: bool = False) -> JsonObject:
    """Return a policy; right after creation `associated_vaults` is null."""
    associated = [
        {"vault_id": vault.id, "destination_vault_id": vault.policies[policy.id]}
        for vault in world.vaults.values()
        if policy.id in vault.policies
    ]
    return {
        "id": policy.id,
        "name": policy.name,
        "operation_type": policy.operation_type,
        "operation_definition": policy.definition,
        "enabled": policy.enabled,
        "policy_type": "custom_policy",
        "trigger": {
            "id": policy.trigger_id,
            "name": "default",
            "type": "time",
            "properties": policy.trigger,
        },
        "associated_vaults": None if created else associated,
    }


def member_view(member: Member) -> JsonObject:
    """Return a share."""
    return {
        "id": member.id,
        "backup_id": member.backup_id,
        "dest_project_id": member.dest_project_id,
        "status": member.status,
        "image_id": member.image_id,
        "vault_id": member.vault_id,
        "created_at": naive(member.created_at),
        "updated_at": naive(member.updated_at),
    }


def agent_view(agent: Agent) -> JsonObject:
    """Return a file backup agent."""
    return {
        "agent_id": agent.agent_id,
        **agent.host,
        "status": agent.status,
        "created_at": naive(agent.created_at),
        "updated_at": naive(agent.updated_at),
        "last_active_time": naive(agent.last_active_at),
        "paths": [
            {
                "id": path.id,
                "agent_id": agent.agent_id,
                "dir_path": path.dir_path,
                "exclude_paths": path.exclude_paths,
                "status": "available",
            }
            for path in agent.paths.values()
        ],
    }


def organization_policy_view(policy: OrganizationPolicy) -> JsonObject:
    """Return an organization policy, which keeps saying that it is being handed out."""
    return {
        "id": policy.id,
        "description": "",
        **policy.body,
        "domain_id": policy.domain_id,
        "domain_name": policy.domain_name,
        "status": "syncing",
    }
