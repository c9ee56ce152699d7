"""Asynchronous work: what a backup, restore, delete, replication, sync does while its task moves,
and at its end.

Each function checks nothing about the request (routes do that); it changes the state to "under
way", starts the task with a function that follows it, and returns what the reply needs.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from emulator.errors import service_code
from emulator.model import (
    Backup,
    BoundResource,
    Checkpoint,
    Protectable,
    Vault,
)
from emulator.tasks import Outcome, Task
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
        "extra_info": resource.extra_info or None,
    }


def make_checkpoint(
    world: World,
    vault: Vault,
    resources: list[BoundResource],
    order: BackupOrder,
    outcome: Outcome | None,
) -> Checkpoint:
    """Start one backup per resource; busy resources are skipped and get a task that says so."""
    name = (
        order.name
        or (vault.backup_name_prefix or ("autobk" if order.auto_trigger else "manualbk"))
        + f"_{world.ids.suffix()}"
    )
    checkpoint = Checkpoint(
        id=world.ids.new(),
        project_id=vault.project_id,
        vault_id=vault.id,
        vault_name=vault.name,
        provider_id=vault.product.provider_id,
        created_at=world.clock.now(),
        name=name,
        description=order.description,
        retention_days=order.retention_days,
    )
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
        project_id=checkpoint.project_id,
        provider_id=checkpoint.provider_id,
        enterprise_project_id=world.vaults[checkpoint.vault_id].enterprise_project_id,
        vault=(checkpoint.vault_id, checkpoint.vault_name),
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
        project_id=vault.project_id,
        provider_id=backup.provider_id,
        enterprise_project_id=vault.enterprise_project_id,
        vault=(vault.id, vault.name),
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
    earlier = any(
        each.resource_id == resource.id and each.status == "available"
        for each in world.backups_in(vault.id)
    )
    incremental = order.incremental and earlier
    item = world.protectables.get(resource.id)
    now = checkpoint.created_at

    def make(part: Protectable | BoundResource, provider_id: str, parent_id: str | None) -> Backup:
        return Backup(
            id=world.ids.new(),
            project_id=vault.project_id,
            vault_id=vault.id,
            checkpoint_id=checkpoint.id,
            provider_id=provider_id,
            name=f"{checkpoint.name}_{resource.name}",
            resource_id=part.id,
            resource_name=part.name,
            resource_type=part.type,
            resource_size=part.size,
            resource_az=item.az if item is not None else "",
            created_at=now,
            updated_at=now,
            size_mb=part.size * 1024 // (64 if incremental else 8),
            incremental=incremental,
            description=checkpoint.description,
            auto_trigger=order.auto_trigger,
            policy_id=order.policy_id,
            parent_id=parent_id,
            expired_at=now + order.retention_days * DAY_S if order.retention_days > 0 else None,
            enterprise_project_id=vault.enterprise_project_id,
        )

    backup = make(resource, vault.product.provider_id, None)
    for disk in _included_disks(item, resource):
        child = make(disk, backup.provider_id, backup.id)
        child.bootable, child.encrypted, child.snapshot_id = (
            disk.bootable,
            disk.encrypted,
            world.ids.new(),
        )
        backup.children.append(child)
    return backup


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


def _of(world: World, backup: Backup) -> dict[str, Any]:
    """What every task says of the backup that it works on."""
    vault = world.vaults.get(backup.vault_id)
    return {
        "project_id": backup.project_id,
        "provider_id": backup.provider_id,
        "enterprise_project_id": backup.enterprise_project_id,
        "vault": (backup.vault_id, vault.name if vault is not None else None),
        "resource": {
            "id": backup.resource_id,
            "type": backup.resource_type,
            "name": backup.resource_name,
            "extra_info": None,
        },
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
        **_of(world, backup),
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
        **_of(world, backup),
        part="delete",
        details={"backup_id": backup.id, "backup_name": backup.name},
        enter=enter,
        outcome=outcome,
        subjects=(backup.id, backup.checkpoint_id),
        policy_id=policy_id,
    )
