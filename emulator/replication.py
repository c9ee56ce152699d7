"""Asynchronous work that brings backups in from elsewhere: replicas from another region, images
from a hybrid store.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from emulator.errors import service_error
from emulator.model import TURBO, Backup, BoundResource, Checkpoint, ReplicationRecord, Vault
from emulator.settings import Project
from emulator.tasks import Outcome, Owner, Task
from emulator.transitions import FINAL, OBJECT_STATES, SUCCESS
from emulator.work import DAY_S, owner_of, resource_ref
from emulator.world import World


def check_replicable(world: World, backup: Backup, destination: Project, vault: Vault) -> None:
    """Refuse with 1002, 1003, 1009, 6216 or 6129 what cannot be replicated into `vault`."""
    if backup.image_type == "replication":
        raise service_error(1002, "A replica cannot be replicated again.")
    if backup.resource_type != TURBO and not any(child.bootable for child in backup.children):
        raise service_error(
            1003,
            "Only backups of file systems, and of servers with their system disk, can be"
            " replicated.",
        )
    if backup.status != "available":
        raise service_error(6216, "The backup is in use.")
    if any(_blocks(record, destination) for record in backup.records):
        raise service_error(1009, "The backup is being, or was, replicated to that region.")
    if world.used_mb(vault.id) + backup.size_mb > vault.size * 1024:
        raise service_error(6129, "The destination vault is full.")


def _blocks(record: ReplicationRecord, destination: Project) -> bool:
    return record.destination_region == destination.region and record.status not in {"fail", "skip"}


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the replica is to be like."""

    name: str
    description: str | None
    retention_days: int


def replicate(
    world: World,
    backup: Backup,
    destination: Project,
    vault: Vault,
    *,
    name: str | None = None,
    description: str | None = None,
    policy_id: str | None = None,
    retention_days: int = -1,
    outcome: Outcome | None = None,
) -> ReplicationRecord:
    """Start copying a backup into another region's vault; the replica appears once it succeeds."""
    record = _new_record(world, backup, destination, vault, auto=policy_id is not None)
    backup.records.append(record)
    wish = _Wish(name or backup.name, description, retention_days)

    def enter(status: str) -> None:
        record.status = OBJECT_STATES["replication"][status]
        if status == SUCCESS and vault.id in world.vaults:
            _land(world, record, vault, wish)
        elif status in FINAL and outcome is not None:
            record.fail_code, record.fail_reason = outcome.code, outcome.message

    record.task_id = world.tasks.start(
        "replication",
        owner_of(world, backup),
        resource=_resource_of(backup),
        part="replication",
        details=_details(record, wish.name),
        enter=enter,
        outcome=outcome,
        subjects=(record.id, backup.id),
        policy_id=policy_id,
        checkpoint_id=backup.checkpoint_id,
    ).id
    return record


def _new_record(
    world: World, backup: Backup, destination: Project, vault: Vault, *, auto: bool
) -> ReplicationRecord:
    return ReplicationRecord(
        id=world.ids.new(),
        created_at=world.clock.now(),
        source=backup,
        source_region=world.projects[backup.project_id].region,
        destination_backup_id=world.ids.new(),
        destination_checkpoint_id=world.ids.new(),
        destination_project_id=destination.id,
        destination_region=destination.region,
        destination_vault_id=vault.id,
        auto_trigger=auto,
    )


def _resource_of(backup: Backup) -> dict[str, Any]:
    return {"id": backup.resource_id, "type": backup.resource_type, "name": backup.resource_name}


def _details(record: ReplicationRecord, name: str) -> dict[str, Any]:
    return {
        "source_backup_id": record.source.id,
        "source_backup_name": record.source.name,
        "source_checkpoint_id": record.source.checkpoint_id,
        "source_project_id": record.source.project_id,
        "source_region": record.source_region,
        "destination_backup_id": record.destination_backup_id,
        "destination_backup_name": name,
        "destination_checkpoint_id": record.destination_checkpoint_id,
        "destination_project_id": record.destination_project_id,
        "destination_region": record.destination_region,
    }


def _land(world: World, record: ReplicationRecord, vault: Vault, wish: _Wish) -> None:
    """Create the replica with its checkpoint, and list its server in the destination vault."""
    source, now = record.source, world.clock.now()
    replica = _copy(source, record, vault, wish, now)
    replica.children = [
        replace(_copy(child, record, vault, wish, now), id=world.ids.new(), parent_id=replica.id)
        for child in source.children
    ]
    vault.resources.setdefault(
        source.resource_id,
        BoundResource(
            source.resource_id,
            source.resource_type,
            source.resource_name,
            source.resource_size,
            protect_status=None,
        ),
    )
    world.checkpoints[record.destination_checkpoint_id] = _checkpoint_of(
        replica, vault, wish.retention_days
    )
    world.put_backup(replica)


def _copy(part: Backup, record: ReplicationRecord, vault: Vault, wish: _Wish, now: float) -> Backup:
    source = record.source
    return replace(
        part,
        id=record.destination_backup_id,
        project_id=vault.project_id,
        vault_id=vault.id,
        enterprise_project_id=vault.enterprise_project_id,
        checkpoint_id=record.destination_checkpoint_id,
        name=wish.name,
        description=source.description if wish.description is None else wish.description,
        status="available",
        image_type="replication",
        parent_id=None,
        policy_id=None,
        created_at=now,
        updated_at=now,
        expired_at=now + wish.retention_days * DAY_S if wish.retention_days > 0 else None,
        resource_az="",
        children=[],
        records=[],
    )


def _checkpoint_of(replica: Backup, vault: Vault, retention_days: int) -> Checkpoint:
    return Checkpoint(
        id=replica.checkpoint_id,
        project_id=vault.project_id,
        vault_id=vault.id,
        vault_name=vault.name,
        provider_id=vault.product.provider_id,
        created_at=replica.created_at,
        name=replica.name,
        description=replica.description,
        retention_days=retention_days,
        status="available",
        resources=[vault.resources[replica.resource_id]],
        backup_ids=[replica.id],
    )


def synchronise(
    world: World,
    vault: Vault,
    resource: BoundResource,
    bring: Callable[[], int],
    *,
    outcome: Outcome | None,
    subjects: tuple[str, ...],
) -> Task:
    """Start a synchronisation; `bring` runs at its success and returns how many backups came."""
    details = {"sync_backup_num": 0, "delete_backup_num": 0, "err_sync_backup_num": 0}

    def enter(status: str) -> None:
        if status == SUCCESS:
            details["sync_backup_num"] = bring()

    return world.tasks.start(
        "sync",
        Owner.of(vault),
        resource=resource_ref(resource),
        part="sync",
        details=details,
        enter=enter,
        outcome=outcome,
        subjects=subjects,
    )


def imported_backup(world: World, vault: Vault, wish: dict[str, Any]) -> Backup:
    """Return the backup that an image in a bucket becomes. `wish` is one item of ImportBackup."""
    return Backup(
        id=wish["backup_id"],
        project_id=vault.project_id,
        vault_id=vault.id,
        enterprise_project_id=vault.enterprise_project_id,
        checkpoint_id=world.ids.new(),
        provider_id=vault.product.provider_id,
        name=wish["backup_name"],
        resource_id=wish["resource_id"],
        resource_name=wish["resource_name"],
        resource_type=wish["resource_type"],
        resource_size=0,
        resource_az="",
        created_at=float(wish["created_at"]),
        protected_at=float(wish["created_at"]),
        updated_at=world.clock.now(),
        size_mb=0,
        incremental=False,
        status="available",
    )
