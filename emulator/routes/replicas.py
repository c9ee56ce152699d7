"""Replication, synchronisation and external vaults: all that crosses projects and regions."""

from emulator import fields, vault_work
from emulator.binding import REPLICABLE, replica_vault
from emulator.errors import invalid, service_error
from emulator.fields import PAGING, JsonObject, Need, q_need, q_text, q_word
from emulator.model import OBJECT_TYPES, BoundResource, Vault
from emulator.replication import check_replicable, imported_backup, replicate, synchronise
from emulator.routes.vaults import matches_vault
from emulator.routing import Call, Route, page, visible
from emulator.settings import Project
from emulator.views import vault_view


def _destination(call: Call, body: JsonObject) -> tuple[Project, Vault]:
    project = call.world.projects.get(body["destination_project_id"])
    if project is None or project not in call.account.projects:
        raise service_error(1011, "The destination project does not support replication.")
    if (
        body["destination_region"] == call.project.region
        or body["destination_region"] != project.region
    ):
        raise service_error(1005, "The destination region does not support replication.")
    return project, replica_vault(call.world, project.id, body["destination_vault_id"])


def _places(call: Call, project: Project, vault: Vault) -> JsonObject:
    return {
        "destination_project_id": project.id,
        "destination_region": project.region,
        "destination_vault_id": vault.id,
        "project_id": call.project_id,
        "source_region": call.project.region,
    }


def copy_backup(call: Call) -> object:
    """Start the replication of one backup."""
    body = call.body["replicate"]
    backup = call.world.backup(call.project_id, call.params["backup_id"])
    project, vault = _destination(call, body)
    check_replicable(call.world, backup, project, vault)
    record = replicate(
        call.world,
        backup,
        project,
        vault,
        name=body.get("name"),
        description=body.get("description"),
        outcome=call.outcome,
    )
    return {
        "replication": {
            **_places(call, project, vault),
            "backup_id": backup.id,
            "provider_id": backup.provider_id,
            "replication_record_id": record.id,
        }
    }


def copy_checkpoint(call: Call) -> object:
    """Start the replication of every available backup of a vault that the region does not have."""
    body = call.body["replicate"]
    source = call.world.vault(call.project_id, body["vault_id"])
    if source.protect_type != "backup" or source.object_type not in REPLICABLE:
        raise service_error(6128, "The vault does not replicate.")
    project, vault = _destination(call, body)
    started = []
    for backup in call.world.backups_in(source.id):
        known = any(record.destination_region == project.region for record in backup.records)
        if backup.status != "available" or known:
            continue
        check_replicable(call.world, backup, project, vault)
        record = replicate(call.world, backup, project, vault, outcome=call.outcome)
        started.append({"backup_id": backup.id, "replication_record_id": record.id})
    if not started:
        raise service_error(1, "There is nothing to replicate.")
    return {
        "replication": {
            **_places(call, project, vault),
            "backups": started,
            "provider_id": source.product.provider_id,
            "vault_id": source.id,
        }
    }


def _require_hybrid(vault: Vault) -> None:
    if vault.cloud_type != "hybrid":
        raise service_error(7300, "The vault does not synchronise.")


def import_checkpoint(call: Call) -> object:
    """Start the synchronisation of a whole hybrid vault; nothing is found: there is no store."""
    vault = call.world.vault(call.project_id, call.body["sync"]["vault_id"])
    _require_hybrid(vault)
    if call.world.tasks.busy(vault.id):
        raise service_error(7302, "A synchronisation is running.")
    whole = BoundResource(vault.id, "OS::Native::Server", vault.name, 0)
    task = synchronise(
        call.world, vault, whole, lambda: 0, outcome=call.outcome, subjects=(vault.id,)
    )
    return {"sync": {"operation_log_id": task.id, "vault_id": vault.id}}


def import_backup(call: Call) -> object:
    """Start the import of named images into the project's oldest hybrid vault, one log for each."""
    vaults = [vault for vault in call.world.vaults.values() if vault.project_id == call.project_id]
    vault = next((vault for vault in vaults if vault.cloud_type == "hybrid"), None)
    if vault is None:
        raise service_error(7300, "The project has no vault that synchronises.")
    wishes = call.body["sync"]
    for wish in wishes:
        if wish["backup_id"] in call.world.backups:
            raise invalid("sync.backup_id", "exists already")
    return {"sync": [_import(call, vault, wish) for wish in wishes]}


def _import(call: Call, vault: Vault, wish: JsonObject) -> JsonObject:
    resource = BoundResource(wish["resource_id"], wish["resource_type"], wish["resource_name"], 0)

    def bring() -> int:
        call.world.put_backup(imported_backup(call.world, vault, wish))
        return 1

    task = synchronise(
        call.world, vault, resource, bring, outcome=call.outcome, subjects=(wish["backup_id"],)
    )
    return {"backup_id": wish["backup_id"], "operation_log_id": task.id}


def list_external_vault(call: Call) -> object:
    """Answer vaults of another project of the account; with `vault_id` no other filter counts."""
    query = dict(call.query)
    owner = next(
        (each for each in call.account.projects if each.id == query["external_project_id"]), None
    )
    found: list[Vault] = []
    if owner is not None and owner.region == query["region_id"]:
        found = call.world.paging.ordered(
            [vault for vault in call.world.vaults.values() if vault.project_id == owner.id]
        )
    if "vault_id" in query:
        found = [vault for vault in found if vault.id == query["vault_id"]]
    else:
        query["object_type"] = query.get("objcet_type")
        wanted = {
            name: query[name]
            for name in ("protect_type", "cloud_type", "object_type")
            if query.get(name)
        }
        found = [vault for vault in found if matches_vault(vault, wanted)]
    shown, totals = page(call, visible(call, found))
    return {"vaults": [vault_view(call.world, vault) for vault in shown], **totals}


def update_expiration_time(call: Call) -> object:
    """Give all finished backups of a vault a new last day."""
    vault = call.world.vault(call.project_id, call.params["vault_id"])
    expires_at = vault_work.day_start(call.body["expect_expiration_date"], call.body["time_zone"])
    if expires_at <= call.world.clock.now():
        raise invalid("expect_expiration_date", "lies in the past")
    backups = [each for each in call.world.backups_in(vault.id) if each.status == "available"]
    task = vault_work.change_expiry(
        call.world,
        vault,
        backups,
        expires_at,
        call.body["expect_expiration_date"],
        outcome=call.outcome,
    )
    return {
        "affected_backups_count": len(backups),
        "new_expiration_day": call.body["expect_expiration_date"],
        "operation_log_id": task.id,
    }


PLACE: dict[str, fields.Check | Need] = {
    "destination_project_id": Need(fields.text(1)),
    "destination_region": Need(fields.REGION),
    "destination_vault_id": Need(fields.text(1)),
    "enable_acceleration": fields.boolean,
    "cross_account_urn": fields.text(),
}
COPY_BACKUP_BODY = fields.record(
    replicate=Need(fields.record(**PLACE, description=fields.PLAIN, name=fields.NAME))
)
COPY_CHECKPOINT_BODY = fields.record(
    replicate=Need(
        fields.record(**PLACE, auto_trigger=fields.boolean, vault_id=Need(fields.text(1)))
    )
)
SYNC_BODY = fields.record(
    sync=Need(fields.record(auto_trigger=Need(fields.boolean), vault_id=Need(fields.text(1))))
)
IMPORT_ITEM = fields.record(
    backup_id=Need(fields.text(1)),
    backup_name=Need(fields.NAME),
    bucket_name=Need(fields.text(1)),
    image_path=Need(fields.text(1)),
    resource_id=Need(fields.text(1)),
    resource_name=Need(fields.text()),
    resource_type=Need(fields.text(1)),
    created_at=Need(fields.integer(0)),
)
EXTERNAL_QUERY = {
    **PAGING,
    "external_project_id": q_need(q_text),
    "region_id": q_need(q_text),
    "protect_type": q_word("backup", "replication", "hybrid"),
    "objcet_type": q_word(*OBJECT_TYPES),
    "cloud_type": q_word("public", "hybrid"),
    "vault_id": q_text,
}
EXPIRY_BODY = fields.record(
    expect_expiration_date=Need(fields.text(10, 10, r"\d{4}-\d{2}-\d{2}")),
    time_zone=Need(fields.text(9, 9, r"UTC[+-]\d{2}:\d{2}")),
)
P = "/v3/{project_id}"

ROUTES = (
    Route(
        "CopyBackup",
        "POST",
        P + "/backups/{backup_id}/replicate",
        copy_backup,
        body=COPY_BACKUP_BODY,
    ),
    Route(
        "CopyCheckpoint",
        "POST",
        P + "/checkpoints/replicate",
        copy_checkpoint,
        body=COPY_CHECKPOINT_BODY,
    ),
    Route("ImportCheckpoint", "POST", P + "/checkpoints/sync", import_checkpoint, body=SYNC_BODY),
    Route(
        "ImportBackup",
        "POST",
        P + "/backups/sync",
        import_backup,
        body=fields.record(sync=Need(fields.many(IMPORT_ITEM, 1, 50))),
    ),
    Route(
        "ListExternalVault",
        "GET",
        P + "/vaults/external",
        list_external_vault,
        query=EXTERNAL_QUERY,
    ),
    Route(
        "UpdateExpirationTime",
        "PUT",
        P + "/vaults/{vault_id}/update-backup-expiration-time",
        update_expiration_time,
        body=EXPIRY_BODY,
    ),
)
