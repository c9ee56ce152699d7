"""Asynchronous work: what a backup, restore, delete, replication, sync does while its task moves,
and at its end.

Each function checks nothing about the request (routes do that); it changes the state to "under
way", starts the task with a function that follows it, and returns what the reply needs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from emulator.errors import service_code
from emulator.model import (
    Backup,
    BoundResource,
    Checkpoint,
    Protectable,
    Vault,
)
from emulator.tasks import Outcome, Owner, Task
from emulator.transitions import FINAL, OBJECT_STATES, SKIPPED, SUCCESS
from emulator.world import World

DAY_S = 86400.0
GONE = Outcome(SKIPPED, service_code(6302), "The resource does not exist.")
BUSY = Outcome(SKIPPED, service_code(6125), "A backup task of this resource is running.")


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """How a checkpoint is to be made."""

    name: str = ""
    description: str = ""
    incremental: bool = True
    auto_trigger: bool = False
    policy_id: str | None = None
    retention_days: int = -1
    on_done: Callable[[], None] | None = None
    """Called once, after the last of its backups has ended."""


def resource_ref(resource: BoundResource) -> dict[str, Any]:
    """Return `extra_info.resource` of a task."""
    return {
        "id": resource.id,
        "type": resource.type,
        "name": resource.name,
        "extra_info": None,
    }


def make_checkpoint(
    world: World,
    vault: Vault,
    resources: list[BoundResource],
    order: BackupOrder,
    outcome: Outcome | None,
) -> Checkpoint:
    """Start one backup per resource; busy resources are skipped and get a task that says so."""
    checkpoint = _new_checkpoint(world, vault, order)
    world.checkpoints[checkpoint.id] = checkpoint
    for resource in resources:
        skip = (
            GONE
            if resource.protect_status == "deleted"
            else BUSY
            if world.tasks.busy(resource.id)
            else outcome
        )
        if skip is not None and skip.status == SKIPPED:
            _skip_backup(world, checkpoint, resource, order, skip)
        else:
            _start_backup(world, checkpoint, resource, order, outcome)
    if not checkpoint.backup_ids:
        checkpoint.status = "error"
    return checkpoint


def _new_checkpoint(world: World, vault: Vault, order: BackupOrder) -> Checkpoint:
    prefix = vault.backup_name_prefix or ("autobk" if order.auto_trigger else "manualbk")
    return Checkpoint(
        id=world.ids.new(),
        project_id=vault.project_id,
        vault_id=vault.id,
        vault_name=vault.name,
        provider_id=vault.product.provider_id,
        created_at=world.clock.now(),
        name=order.name or f"{prefix}_{world.ids.suffix()}",
        description=order.description,
        retention_days=order.retention_days,
    )


def _skip_backup(
    world: World,
    checkpoint: Checkpoint,
    resource: BoundResource,
    order: BackupOrder,
    outcome: Outcome,
) -> None:
    checkpoint.skipped.append(
        {
            "id": resource.id,
            "type": resource.type,
            "name": resource.name,
            "code": outcome.code,
            "reason": outcome.message,
        }
    )
    world.tasks.start(
        "backup",
        Owner(
            checkpoint.project_id,
            checkpoint.provider_id,
            world.vaults[checkpoint.vault_id].enterprise_project_id,
            checkpoint.vault_id,
            checkpoint.vault_name,
        ),
        resource=resource_ref(resource),
        part="backup",
        details={
            "backup_id": "",
            "backup_name": f"{checkpoint.name}_{resource.name}",
            "incremental": str(order.incremental).lower(),
        },
        enter=lambda _status: None,
        outcome=outcome,
        policy_id=order.policy_id,
    )


def _start_backup(
    world: World,
    checkpoint: Checkpoint,
    resource: BoundResource,
    order: BackupOrder,
    outcome: Outcome | None,
) -> None:
    vault = world.vaults[checkpoint.vault_id]
    backup = _new_backup(world, vault, checkpoint, resource, order)
    world.put_backup(backup)
    checkpoint.backup_ids.append(backup.id)
    checkpoint.resources.append(resource)

    def enter(status: str) -> None:
        _set_status(world, backup, OBJECT_STATES["backup"][status])
        resource.now("available" if status in FINAL else "protecting")
        if status not in FINAL:
            return
        if status == SUCCESS:
            for each in (backup, *backup.children):
                each.protected_at = world.clock.now()
        _close_checkpoint(world, checkpoint, order)

    task = world.tasks.start(
        "backup",
        Owner.of(vault),
        resource=resource_ref(resource),
        part="backup",
        details=_backup_details(backup),
        enter=enter,
        outcome=outcome,
        subjects=(backup.id, checkpoint.id, resource.id),
        policy_id=order.policy_id,
        checkpoint_id=checkpoint.id,
    )
    for each in (backup, *backup.children):
        each.task_id = task.id


def _backup_details(backup: Backup) -> dict[str, Any]:
    return {
        "backup_id": backup.id,
        "backup_name": backup.name,
        "incremental": str(backup.incremental).lower(),
        "app_consistency_status": "0",
        "app_consistency_error_code": "",
        "app_consistency_error_message": "",
    }


def _new_backup(
    world: World, vault: Vault, checkpoint: Checkpoint, resource: BoundResource, order: BackupOrder
) -> Backup:
    """Return a backup with those of its disks, not started."""
    item = world.protectables.get(resource.id)
    backup = _backup_of(world, vault, checkpoint, resource, order)
    for disk in _included_disks(item, resource):
        child = replace(
            backup,
            id=world.ids.new(),
            resource_id=disk.id,
            resource_name=disk.name,
            resource_type=disk.type,
            resource_size=disk.size,
            size_mb=_written_mb(disk, incremental=backup.incremental),
            parent_id=backup.id,
            bootable=disk.bootable,
            encrypted=disk.encrypted,
            snapshot_id=world.ids.new(),
            image_ids=[],
            children=[],
            records=[],
        )
        backup.children.append(child)
    return backup


def _backup_of(
    world: World, vault: Vault, checkpoint: Checkpoint, resource: BoundResource, order: BackupOrder
) -> Backup:
    item, now = world.protectables.get(resource.id), checkpoint.created_at
    incremental = order.incremental and any(
        each.resource_id == resource.id and each.status == "available"
        for each in world.backups_in(vault.id)
    )
    return Backup(
        id=world.ids.new(),
        project_id=vault.project_id,
        vault_id=vault.id,
        checkpoint_id=checkpoint.id,
        provider_id=vault.product.provider_id,
        name=f"{checkpoint.name}_{resource.name}",
        resource_id=resource.id,
        resource_name=resource.name,
        resource_type=resource.type,
        resource_size=resource.size,
        resource_az=item.az if item is not None else "",
        created_at=now,
        updated_at=now,
        size_mb=_written_mb(resource, incremental=incremental),
        incremental=incremental,
        description=checkpoint.description,
        auto_trigger=order.auto_trigger,
        policy_id=order.policy_id,
        expired_at=now + order.retention_days * DAY_S if order.retention_days > 0 else None,
        enterprise_project_id=vault.enterprise_project_id,
    )


def _written_mb(part: Protectable | BoundResource, *, incremental: bool) -> int:
    return part.size * 1024 // (64 if incremental else 8)


def _included_disks(item: Protectable | None, resource: BoundResource) -> Iterable[Protectable]:
    if item is None:
        return ()
    excluded = resource.extra_info.get("exclude_volumes", ())
    included = [each["id"] for each in resource.extra_info.get("include_volumes", ())]
    return [
        disk
        for disk in item.children
        if disk.id not in excluded and (not included or disk.id in included)
    ]


def _set_status(world: World, backup: Backup, status: str) -> None:
    for each in (backup, *backup.children):
        each.status = status
        each.updated_at = world.clock.now()


def _close_checkpoint(world: World, checkpoint: Checkpoint, order: BackupOrder) -> None:
    states = {world.backups[each].status for each in checkpoint.backup_ids if each in world.backups}
    if states <= {"available", "error"}:
        checkpoint.status = "error" if "error" in states else "available"
        if order.on_done is not None:
            order.on_done()


def owner_of(world: World, backup: Backup) -> Owner:
    """Return whose the tasks of a backup are; its vault may be gone."""
    vault = world.vaults.get(backup.vault_id)
    return Owner(
        backup.project_id,
        backup.provider_id,
        backup.enterprise_project_id,
        backup.vault_id,
        vault.name if vault is not None else None,
    )


def _backed_up(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.resource_id,
        "type": backup.resource_type,
        "name": backup.resource_name,
        "extra_info": None,
    }


def restore(
    world: World,
    backup: Backup,
    target: Protectable,
    bound: BoundResource | None,
    outcome: Outcome | None,
) -> Task:
    """Start writing a backup over `target`."""

    def enter(status: str) -> None:
        _set_status(world, backup, OBJECT_STATES["restore"][status])
        if bound is not None:
            bound.now("available" if status in FINAL else "restoring")

    return world.tasks.start(
        "restore",
        owner_of(world, backup),
        resource=_backed_up(backup),
        part="restore",
        details={
            "backup_id": backup.id,
            "backup_name": backup.name,
            "target_resource_id": target.id,
            "target_resource_name": target.name,
        },
        enter=enter,
        outcome=outcome,
        subjects=(backup.id, target.id, backup.resource_id),
        checkpoint_id=backup.checkpoint_id,
    )


def delete_backup(
    world: World, backup: Backup, outcome: Outcome | None = None, policy_id: str | None = None
) -> Task:
    """Start removing a backup."""

    def enter(status: str) -> None:
        if status == SUCCESS:
            world.drop_backup(backup)
        else:
            _set_status(world, backup, OBJECT_STATES["delete"][status])

    return world.tasks.start(
        "delete",
        owner_of(world, backup),
        resource=_backed_up(backup),
        part="delete",
        details={"backup_id": backup.id, "backup_name": backup.name},
        enter=enter,
        outcome=outcome,
        subjects=(backup.id, backup.checkpoint_id),
        policy_id=policy_id,
    )
