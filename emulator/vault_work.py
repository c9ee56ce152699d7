"""Asynchronous work on vaults: removal, resources that leave or move, new expiry dates.

Like `work`: nothing is checked here but the calendar; each function starts a task and lets it
change the state.
"""

from datetime import datetime
from typing import Any

from emulator.errors import invalid
from emulator.model import Backup, BoundResource, Vault
from emulator.tasks import Outcome, Owner, Task
from emulator.transitions import FINAL, SUCCESS
from emulator.work import resource_ref
from emulator.world import World


def delete_vault(world: World, vault: Vault, outcome: Outcome | None) -> Task:
    """Start removing a vault with all its backups."""
    total = sum(1 for _ in world.backups_in(vault.id))
    details = {
        "fail_count": 0,
        "total_count": total,
        "fail_delete_count": 0,
        "total_delete_count": total,
    }

    def enter(status: str) -> None:
        if status not in FINAL:
            vault.status = "deleting"
            return
        if status != SUCCESS:
            details["fail_count"] = details["fail_delete_count"] = total
            vault.status = "available"
            return
        for backup in world.backups_in(vault.id):
            world.drop_backup(backup)
        world.vaults.pop(vault.id, None)

    types = vault.product.resource_types
    return world.tasks.start(
        "vault_delete",
        Owner.of(vault),
        resource={**_as_resource(vault), "type": types[0] if types else ""},
        part="vault_delete",
        details=details,
        enter=enter,
        outcome=outcome,
        subjects=(vault.id,),
    )


def remove_resources(
    world: World, vault: Vault, resources: list[BoundResource], outcome: Outcome | None
) -> Task:
    """Start taking resources out of a vault; their backups go with them."""
    details: dict[str, Any] = {
        "fail_count": 0,
        "total_count": len(resources),
        "resources": _named(resources),
    }

    def enter(status: str) -> None:
        for resource in resources:
            resource.now("available" if status in FINAL else "removing")
        if status == SUCCESS:
            gone = {resource.id for resource in resources}
            for backup in world.backups_in(vault.id):
                if backup.resource_id in gone:
                    world.drop_backup(backup)
            for resource_id in gone:
                vault.resources.pop(resource_id, None)
        elif status in FINAL:
            details["fail_count"] = len(resources)

    return world.tasks.start(
        "remove_resource",
        Owner.of(vault),
        resource=resource_ref(resources[0]),
        part="remove_resources",
        details=details,
        enter=enter,
        outcome=outcome,
        subjects=(vault.id, *(resource.id for resource in resources)),
    )


def migrate_resources(
    world: World,
    source: Vault,
    destination: Vault,
    resources: list[BoundResource],
    outcome: Outcome | None,
) -> Task:
    """Start moving resources and their backups into another vault."""
    moving = {resource.id for resource in resources}

    def enter(status: str) -> None:
        if status != SUCCESS:
            return
        for resource in resources:
            source.resources.pop(resource.id, None)
            destination.resources[resource.id] = resource
        for backup in world.backups_in(source.id):
            if backup.resource_id in moving:
                world.move_backup(backup, destination)

    return world.tasks.start(
        "migrate_resources",
        Owner.of(source),
        resource=resource_ref(resources[0]),
        part="migrate_resources",
        details={
            "fail_count": 0,
            "total_count": len(resources),
            "destination_vault_id": destination.id,
            "resources": _named(resources),
        },
        enter=enter,
        outcome=outcome,
        subjects=(source.id, destination.id, *moving),
    )


def day_start(date: str, time_zone: str) -> float:
    """Return the first moment of a day (`YYYY-MM-DD`, `UTC+08:00`) in seconds; 9900 for a day that
    does not exist.
    """
    try:
        return datetime.fromisoformat(f"{date}T00:00:00{time_zone.removeprefix('UTC')}").timestamp()
    except ValueError:
        raise invalid("expect_expiration_date") from None


def change_expiry(
    world: World,
    vault: Vault,
    backups: list[Backup],
    expires_at: float,
    day: str,
    *,
    outcome: Outcome | None,
) -> Task:
    """Start giving backups a new expiry; the type of this log is a guess: it is not published."""

    def enter(status: str) -> None:
        if status == SUCCESS:
            for backup in backups:
                backup.expired_at = expires_at

    return world.tasks.start(
        "update_expiration_time",
        Owner.of(vault),
        resource=_as_resource(vault),
        part="update_expiration_time",
        details={"affected_backups_count": len(backups), "expiration_day": day},
        enter=enter,
        outcome=outcome,
        subjects=(vault.id,),
    )


def _as_resource(vault: Vault) -> dict[str, Any]:
    return {"id": vault.id, "type": "", "name": vault.name, "extra_info": None}


def _named(resources: list[BoundResource]) -> list[dict[str, str]]:
    return [{"id": each.id, "type": each.type, "name": each.name} for each in resources]
