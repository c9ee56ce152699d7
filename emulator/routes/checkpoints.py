"""Category checkpoint: backups of a whole vault at once."""

from emulator import fields, work
from emulator.backup_views import checkpoint_view
from emulator.binding import bound_resources, protected_size
from emulator.errors import invalid, service_error
from emulator.fields import Need
from emulator.model import RESOURCE_TYPES
from emulator.routes.vault_bodies import EXTRA
from emulator.routing import Call, Route


def create_checkpoint(call: Call) -> object:
    """Start one backup per resource of the vault, or of those named."""
    body = call.body["checkpoint"]
    vault = call.world.vault(call.project_id, body["vault_id"])
    wish = body.get("parameters", {})
    if vault.protect_type != "backup":
        raise service_error(6124, "The vault makes no backups.")
    if vault.status not in {"available", "lock"}:
        raise service_error(6113, "The status of the vault does not allow backups.")
    if wish.get("auto_trigger") and "retention_duration_days" in wish:
        raise invalid(
            "checkpoint.parameters.retention_duration_days", "not together with auto_trigger"
        )
    named = [each["id"] for each in wish.get("resource_details", [])] or wish.get("resources", [])
    resources = bound_resources(vault, named) if named else list(vault.resources.values())
    for each in wish.get("resource_details", []):
        if each["id"] in call.world.protectables:
            protected_size(call.world.protectables[each["id"]], each.get("extra_info", {}))
    if "policy_id" in wish:
        call.world.policy(call.project_id, wish["policy_id"])
    if not resources:
        raise service_error(1, "There is nothing to back up.")
    order = work.BackupOrder(
        name=wish.get("name", ""),
        description=wish.get("description", ""),
        incremental=wish.get("incremental", True),
        auto_trigger=wish.get("auto_trigger", False),
        policy_id=wish.get("policy_id"),
        retention_days=wish.get("retention_duration_days", -1),
    )
    checkpoint = work.make_checkpoint(call.world, vault, resources, order, call.outcome)
    return {"checkpoint": checkpoint_view(checkpoint, created=True)}


def show_checkpoint(call: Call) -> object:
    """Answer one checkpoint."""
    checkpoint_id = call.params["checkpoint_id"]
    call.world.tasks.read(checkpoint_id)
    return {
        "checkpoint": checkpoint_view(
            call.world.checkpoint(call.project_id, checkpoint_id), created=False
        )
    }


DETAIL = fields.record(
    id=Need(fields.text(1)),
    type=Need(fields.word(*RESOURCE_TYPES)),
    name=fields.text(0, 255),
    extra_info=EXTRA,
)
CREATE_BODY = fields.record(
    checkpoint=Need(
        fields.record(
            vault_id=Need(fields.text(1)),
            parameters=fields.record(
                auto_trigger=fields.boolean,
                description=fields.PLAIN,
                incremental=fields.boolean,
                name=fields.NAME,
                resources=fields.many(fields.text(1)),
                resource_details=fields.many(DETAIL, 0, 256),
                policy_id=fields.text(1),
                retention_duration_days=fields.integer(1, 36500, -1),
            ),
        )
    )
)
CHECKPOINTS = "/v3/{project_id}/checkpoints"

ROUTES = (
    Route("CreateCheckpoint", "POST", CHECKPOINTS, create_checkpoint, body=CREATE_BODY),
    Route("ShowCheckpoint", "GET", CHECKPOINTS + "/{checkpoint_id}", show_checkpoint),
)
