"""Backups, checkpoints and operation logs as replies show them, with every key seen live."""

from typing import Any

from emulator.clock import naive
from emulator.model import Backup, Checkpoint, ReplicationRecord
from emulator.tasks import Task
from emulator.world import World

JsonObject = dict[str, Any]


def backup_view(
    world: World, backup: Backup, *, detail: bool = False, records: bool = False, viewer: str = ""
) -> JsonObject:
    """Return a backup as the project `viewer` sees it, without one as its owner does.

    `detail` is ShowBackup (children, records, enterprise project), lists leave those out.
    """
    view: JsonObject = {
        **_plain(backup),
        "vault_id": seen_in(world, backup, viewer),
        "children": (
            [backup_view(world, child, viewer=viewer) for child in backup.children]
            if detail
            else []
        ),
        "extend_info": _extend_info(world, backup),
        "replication_records": [
            _record_view(world, record) for record in (backup.records if detail or records else ())
        ],
    }
    if detail:
        view["enterprise_project_id"] = backup.enterprise_project_id
    return view


def _plain(backup: Backup) -> JsonObject:
    return {
        "id": backup.id,
        "name": backup.name,
        "description": backup.description,
        "checkpoint_id": backup.checkpoint_id,
        "project_id": backup.project_id,
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
    }


def seen_in(world: World, backup: Backup, viewer: str) -> str:
    """Return the vault that a project sees a backup in: who has accepted a share sees the vault it
    was accepted into.
    """
    member = world.member_of(backup, viewer) if viewer not in {"", backup.project_id} else None
    return (member.vault_id if member is not None else None) or backup.vault_id


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
        "supported_restore_mode": (
            None if not whole_server else "backup" if backup.protected_at else "na"
        ),
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
    """Return a checkpoint; the answer to its creation has skipped_resources and extra_info, later
    reads have not.
    """
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
