"""Category backup: reading, renaming, restoring and deleting backups."""

import json
from collections.abc import Callable, Iterable

from emulator import fields, work
from emulator.backup_views import backup_view, seen_in
from emulator.errors import invalid, service_error
from emulator.fields import PAGING, JsonObject, Need, q_boolean, q_integer, q_text, q_word, q_words
from emulator.model import RESOURCE_TYPES, Backup, Protectable
from emulator.routes.tasks import moment
from emulator.routing import Call, Route, in_order, page, visible

STATUSES = (
    "available", "protecting", "deleting", "restoring", "error", "waiting_protect", "waiting_delete",  # noqa: E501 - as it stands on the wire
    "waiting_restore",
)  # fmt: skip
SORT_KEYS = ("created_at", "updated_at", "name", "status", "protected_at", "id")


def _candidates(call: Call) -> Iterable[Backup]:
    """Return what `own_type` and `parent_id` select, oldest first."""
    query, backups = call.query, call.world.backups
    parent = query.get("parent_id")
    owned = query.get("own_type", "private")
    for backup in backups.values():
        if backup.parent_id != parent:
            continue
        own = backup.project_id == call.project_id
        member = None if own else call.world.members.get(backup.id, {}).get(call.project_id)
        if "member_status" in query:
            shares = call.world.members.get(backup.id, {})
            seen = list(shares.values()) if own else [member] if member is not None else []
            if all(each.status != query["member_status"] for each in seen):
                continue
        shared = member is not None and (member.status != "rejected" or "member_status" in query)
        if (own and owned != "shared") or (shared and owned != "private"):
            yield backup


EXACT: dict[str, Callable[[Backup], object]] = {
    "checkpoint_id": lambda backup: backup.checkpoint_id,
    "image_type": lambda backup: backup.image_type,
    "resource_az": lambda backup: backup.resource_az,
    "resource_id": lambda backup: backup.resource_id,
    "resource_type": lambda backup: backup.resource_type,
    "incremental": lambda backup: backup.incremental,
    "dec": lambda _backup: False,
}


def _used_percent(call: Call, backup: Backup) -> int:
    vault = call.world.vaults.get(backup.vault_id)
    return call.world.used_mb(vault.id) * 100 // (vault.size * 1024) if vault is not None else 0


def _select(call: Call, backups: Iterable[Backup]) -> list[Backup]:
    query = call.query
    exact = [(read, query[name]) for name, read in EXACT.items() if name in query]
    since, until = moment(query, "start_time", 0.0), moment(query, "end_time", float("inf"))
    eps = query.get("enterprise_project_id", "all_granted_eps")
    return [
        backup
        for backup in backups
        if since <= backup.created_at <= until
        and all(read(backup) == value for read, value in exact)
        and query.get("vault_id") in {None, seen_in(call.world, backup, call.project_id)}
        and ("status" not in query or backup.status in query["status"])
        and query.get("name", "") in backup.name
        and query.get("resource_name", "") in backup.resource_name
        and eps in {"all_granted_eps", backup.enterprise_project_id}
        and ("used_percent" not in query or _used_percent(call, backup) >= query["used_percent"])
    ]


def list_backups(call: Call) -> object:
    """Answer top-level backups, newest first, or the children of `parent_id`."""
    candidates = visible(call, _candidates(call))
    if call.world.tasks.counts_reads:
        call.world.tasks.read(*(backup.id for backup in candidates))
    found = _select(call, candidates)
    found.reverse()
    shown, totals = page(call, in_order(found, call.query.get("sort"), SORT_KEYS), marker=True)
    records = call.query.get("show_replication", False)
    return {
        "backups": [
            backup_view(call.world, each, records=records, viewer=call.project_id) for each in shown
        ],
        **totals,
    }


def show_backup(call: Call) -> object:
    """Answer one backup with its children."""
    backup_id = call.params["backup_id"]
    call.world.tasks.read(backup_id)
    backup = call.world.backup(call.project_id, backup_id, shared=True)
    return {"backup": backup_view(call.world, backup, detail=True, viewer=call.project_id)}


def update_backup(call: Call) -> object:
    """Rename a backup."""
    backup = call.world.backup(call.project_id, call.params["backup_id"])
    backup.name = call.body.get("backup", {}).get("name", backup.name)
    backup.updated_at = call.world.clock.now()
    return {"backup": backup_view(call.world, backup, detail=True)}


def delete_backup(call: Call) -> None:
    """Start the removal of a backup."""
    world = call.world
    backup = world.backup(call.project_id, call.params["backup_id"])
    vault = world.vaults.get(backup.vault_id)
    if backup.parent_id is not None:
        raise service_error(6201, "A backup of a single disk of a server cannot be deleted.")
    if backup.status in {"waiting_delete", "deleting"}:
        raise service_error(6203, "The backup is being deleted.")
    if backup.status not in {"available", "error"} or world.tasks.busy(backup.id):
        raise service_error(6216, "The backup is in use.")
    if vault is not None and vault.status == "deleting":
        raise service_error(6201, "The vault is being deleted.")
    if vault is not None and vault.locked and backup.auto_trigger:
        raise service_error(6220, "An automatic backup of a locked vault cannot be deleted.")
    if backup.image_ids:
        raise service_error(6204, "The backup is registered as an image.")
    if any(member.image_id is not None for member in world.members.get(backup.id, {}).values()):
        raise service_error(6710, "The shared backup is registered as an image.")
    work.delete_backup(world, backup, call.outcome)


def _target(call: Call, backup: Backup, wish: JsonObject) -> Protectable:
    if backup.children or backup.resource_type == "OS::Nova::Server":
        key, code, message = "server_id", 7100, "The server does not exist."
    elif backup.resource_type == "OS::Cinder::Volume":
        key, code, message = "volume_id", 7000, "The disk does not exist."
    else:
        key, code, message = (
            "resource_id",
            6302,
            f"The resource {wish.get('resource_id')} does not exist.",
        )
    if key not in wish:
        raise invalid(f"restore.{key}", "is required for this backup")
    target = call.world.protectables.get(wish[key])
    if (
        target is None
        or target.project_id != call.project_id
        or target.type != backup.resource_type
    ):
        raise service_error(code, message)
    return target


def _check_mappings(backup: Backup, target: Protectable, wish: JsonObject) -> None:
    children = {child.id: child for child in backup.children}
    disks = {disk.id: disk for disk in target.children}
    for mapping in wish.get("mappings", []):
        child, disk = children.get(mapping["backup_id"]), disks.get(mapping["volume_id"])
        if child is None:
            raise invalid("restore.mappings.backup_id", "is not a disk backup of this backup")
        if disk is None:
            raise service_error(7000, "The disk does not exist.")
        if disk.size < child.resource_size:
            raise service_error(2001, "The target disk is smaller than the backup.")
        if disk.bootable and not child.bootable:
            raise service_error(2013, "A data disk backup cannot go to a system disk.")
    if target.kind != "server" and target.size < backup.resource_size:
        raise service_error(2001, "The target disk is smaller than the backup.")


def restore_backup(call: Call) -> object:
    """Start a restore; the answer names the operation log."""
    world, wish = call.world, call.body["restore"]
    backup = world.backup(call.project_id, call.params["backup_id"])
    if backup.image_type == "replication" or backup.status != "available":
        raise service_error(2005, "The status of the backup does not allow a restore.")
    vault = world.vaults.get(backup.vault_id)
    if vault is None or vault.status != "available":
        raise service_error(6202, "A restore needs an available vault.")
    target = _target(call, backup, wish)
    _check_mappings(backup, target, wish)
    if world.tasks.busy(target.id):
        raise service_error(2002, "The resource is busy with another task.")
    task = work.restore(world, backup, target, world.bound(vault.id, target.id), call.outcome)
    return {"job_id": task.id}


def show_metadata(call: Call) -> object:
    """Answer the server behind a backup; its parts are JSON inside strings."""
    backup = call.world.backup(call.project_id, call.params["backup_id"], shared=True)
    if backup.status != "available":
        raise service_error(6206, "The status of the backup does not allow to read its metadata.")
    server = {
        "id": backup.resource_id,
        "name": backup.resource_name,
        "OS-EXT-AZ": backup.resource_az,
    }
    volumes = [
        {"id": child.resource_id, "size": child.resource_size, "bootable": child.bootable}
        for child in backup.children
    ]
    return {
        "backup_id": backup.id,
        "backups": json.dumps([child.id for child in backup.children]),
        "flavor": json.dumps({"id": "s6.large.2", "vcpus": "2", "ram": "4096"}),
        "floatingips": [],
        "interface": json.dumps([]),
        "ports": [json.dumps({"fixed_ips": [{"ip_address": "192.168.0.10"}]})],
        "server": json.dumps(server),
        "volumes": [json.dumps(volume) for volume in volumes],
    }


RESTORE_BODY = fields.record(
    restore=Need(
        fields.record(
            mappings=fields.many(
                fields.record(backup_id=Need(fields.text(1)), volume_id=Need(fields.text(1)))
            ),
            power_on=fields.boolean,
            server_id=fields.text(1),
            volume_id=fields.text(1),
            resource_id=fields.text(1),
            details=fields.record(destination_path=Need(fields.text(1, 255))),
        )
    )
)
LIST_QUERY = {
    **PAGING,
    "sort": q_text,
    "checkpoint_id": q_text,
    "dec": q_boolean,
    "start_time": q_text,
    "end_time": q_text,
    "image_type": q_word("backup", "replication"),
    "name": q_text,
    "resource_az": q_text,
    "resource_id": q_text,
    "resource_name": q_text,
    "resource_type": q_word(*RESOURCE_TYPES),
    "status": q_words(*STATUSES),
    "vault_id": q_text,
    "enterprise_project_id": q_text,
    "own_type": q_word("all_granted", "private", "shared"),
    "member_status": q_word("pending", "accepted", "rejected"),
    "parent_id": q_text,
    "used_percent": q_integer(1, 100),
    "show_replication": q_boolean,
    "incremental": q_boolean,
}
BACKUPS = "/v3/{project_id}/backups"
BACKUP = BACKUPS + "/{backup_id}"

ROUTES = (
    Route("ListBackups", "GET", BACKUPS, list_backups, query=LIST_QUERY),
    Route("ShowBackup", "GET", BACKUP, show_backup),
    Route(
        "UpdateBackup",
        "PUT",
        BACKUP,
        update_backup,
        body=fields.record(backup=fields.record(name=fields.text(1, 64))),
    ),
    Route("DeleteBackup", "DELETE", BACKUP, delete_backup, 204),
    Route("RestoreBackup", "POST", BACKUP + "/restore", restore_backup, 202, body=RESTORE_BODY),
    Route("ShowMetadata", "GET", BACKUP + "/metadata", show_metadata),
)
