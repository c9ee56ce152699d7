"""Category vault: vaults, what is in them, and their policies.

Tags and orders have their own modules.
"""

from emulator import fields, vault_work
from emulator.binding import (
    attach_policy,
    bind,
    bound_resources,
    new_vault,
    require_capacity,
    require_usable,
)
from emulator.errors import invalid, service_error
from emulator.fields import PAGING, JsonObject, Need, q_list, q_text, q_word
from emulator.model import OBJECT_TYPES, Order, Vault
from emulator.routes.vault_bodies import (
    ADD_BODY,
    ASSOCIATE_BODY,
    BATCH_BODY,
    CREATE_BODY,
    IDS,
    UPDATE_BODY,
)
from emulator.routing import Call, Route, page, visible
from emulator.views import vault_view


def create_vault(call: Call) -> object:
    """Answer the vault, or for a pre-paid one the order; an unpaid order makes no vault yet."""
    body = call.body["vault"]
    billing = body["billing"]
    if billing.get("charging_mode") == "pre_paid":
        if "period_type" not in billing or "period_num" not in billing:
            raise invalid(
                "vault.billing.period_num", "pre-paid vaults need period_type and period_num"
            )
        return order_vault(call, body)
    vault = new_vault(call, body)
    call.world.vaults[vault.id] = vault
    return {"vault": vault_view(call.world, vault)}


def order_vault(call: Call, body: JsonObject) -> JsonObject:
    """Order a pre-paid vault; it exists at once if the order pays itself."""
    vault = new_vault(call, body)
    paid = body["billing"].get("is_auto_pay", False)
    order = Order(
        call.world.ids.order(), call.project_id, vault.id, paid=paid, vault=None if paid else vault
    )
    vault.order_id, vault.charging_mode = order.id, "pre_paid"
    vault.product_id = vault.spec_code
    call.world.orders[order.id] = order
    if paid:
        call.world.vaults[vault.id] = vault
    line = {
        "cloudServiceId": "cbr",
        "orderId": order.id,
        "resourceId": vault.id,
        "subscribeResult": 1,
    }
    return {"orders": [line], "retCode": 0, "errText": "success", "error_code": "0"}


def own_vaults(call: Call) -> list[Vault]:
    """Return the vaults of the caller's project, oldest first."""
    return [vault for vault in call.world.vaults.values() if vault.project_id == call.project_id]


def matches_vault(vault: Vault, query: JsonObject) -> bool:
    """Return whether a vault passes the filters of a list."""
    given = {
        "cloud_type": vault.cloud_type,
        "protect_type": vault.protect_type,
        "object_type": vault.object_type,
        "status": vault.status,
    }
    eps = query.get("enterprise_project_id", "all_granted_eps")
    resources = query.get("resource_ids")
    return (
        all(query.get(name, value) == value for name, value in given.items())
        and query.get("name", "") in vault.name
        and eps in {"all_granted_eps", vault.enterprise_project_id}
        and ("id" not in query or vault.id in query["id"])
        and ("policy_id" not in query or query["policy_id"] in vault.policies)
        and (resources is None or not set(resources.split(",")).isdisjoint(vault.resources))
    )


def list_vault(call: Call) -> object:
    """Answer the vaults of the project, newest first unless set otherwise."""
    found = [vault for vault in visible(call, own_vaults(call)) if matches_vault(vault, call.query)]
    shown, totals = page(call, call.world.paging.ordered(found))
    return {"vaults": [vault_view(call.world, vault) for vault in shown], **totals}


def _vault(call: Call) -> Vault:
    return call.world.vault(call.project_id, call.params["vault_id"])


def show_vault(call: Call) -> object:
    """Answer one vault."""
    call.world.tasks.read(call.params["vault_id"])
    return {"vault": vault_view(call.world, _vault(call))}


def update_vault(call: Call) -> object:
    """Change what the body holds; the rest stays."""
    vault, body = _vault(call), call.body["vault"]
    require_usable(vault)
    billing = body.pop("billing", {})
    if "size" in billing:
        _resize(call, vault, billing["size"])
    if "consistent_level" in billing:
        if (
            vault.consistent_level == "app_consistent"
            and billing["consistent_level"] != "app_consistent"
        ):
            raise invalid("vault.billing.consistent_level", "cannot go back to crash_consistent")
        vault.consistent_level = billing["consistent_level"]
    if vault.locked and body.get("locked") is False:
        raise invalid(
            "vault.locked", "the locked attribute of a locked vault cannot be changed to false"
        )
    for name, value in body.items():
        setattr(vault, name, value)
    return {"vault": vault_view(call.world, vault)}


def _resize(call: Call, vault: Vault, size: int) -> None:
    if vault.status == "lock":
        raise service_error(6123, "An order for this vault is open.")
    if vault.charging_mode == "pre_paid":
        raise service_error(6110, "The size of a pre-paid vault is changed by an order.")
    if size * 1024 < call.world.used_mb(vault.id):
        raise service_error(6114, "Size of vault is below the used capacity.")
    if call.world.settings.strict_capacity and size < vault.allocated:
        raise service_error(6101, "Size of vault invalid.")
    vault.size = size


def delete_vault(call: Call) -> None:
    """Start the removal of the vault with all its backups."""
    vault = _vault(call)
    if vault.status == "deleting" or call.world.tasks.busy(vault.id):
        raise service_error(6203, "Performing backups.")
    if any(call.world.tasks.busy(backup.id) for backup in call.world.backups_in(vault.id)):
        raise service_error(6203, "Performing backups.")
    if vault.locked and any(call.world.backups_in(vault.id)):
        raise service_error(6111, "A locked vault with backups cannot be deleted.")
    vault_work.delete_vault(call.world, vault, call.outcome)


def add_vault_resource(call: Call) -> object:
    """Bind resources, all or none; they count at once."""
    vault = _vault(call)
    require_usable(vault)
    bind(call.world, vault, call.body["resources"])
    return {"add_resource_ids": [wish["id"] for wish in call.body["resources"]]}


def remove_vault_resource(call: Call) -> object:
    """Start the removal of resources with their backups."""
    vault = _vault(call)
    require_usable(vault)
    resources = bound_resources(vault, call.body["resource_ids"])
    for resource in resources:
        if call.world.tasks.busy(resource.id):
            raise service_error(
                6134 if resource.protect_status == "removing" else 6203, "A task is running."
            )
    vault_work.remove_resources(call.world, vault, resources, call.outcome)
    return {"remove_resource_ids": [resource.id for resource in resources]}


def migrate_vault_resource(call: Call) -> object:
    """Start moving resources into another vault of the same kind."""
    vault = _vault(call)
    destination = call.world.vault(call.project_id, call.body["destination_vault_id"])
    if destination.id == vault.id:
        raise invalid("destination_vault_id", "is the source vault")
    if (destination.object_type, destination.protect_type) != (
        vault.object_type,
        vault.protect_type,
    ):
        raise service_error(6102, "The vaults are of different kinds.")
    require_usable(vault)
    require_usable(destination)
    resources = bound_resources(vault, call.body["resource_ids"])
    if any(call.world.tasks.busy(resource.id) for resource in resources):
        raise service_error(6203, "A task is running.")
    require_capacity(
        call.world,
        destination,
        destination.allocated + sum(resource.size for resource in resources),
    )
    vault_work.migrate_resources(call.world, vault, destination, resources, call.outcome)
    return {"migrated_resources": [resource.id for resource in resources]}


def set_vault_resource(call: Call) -> object:
    """`suspend` takes resources out of automatic backups, `unsuspend` puts them back."""
    vault = _vault(call)
    resources = bound_resources(vault, call.body["resource_ids"])
    for resource in resources:
        resource.auto_protect = call.body["action"] == "unsuspend"
    return {"set_resource_ids": [resource.id for resource in resources]}


def associate_vault_policy(call: Call) -> object:
    """Bind one policy (or the first of `add_policy_ids`, a field in public test)."""
    vault, body = _vault(call), call.body
    require_usable(vault)
    ids = body.get("add_policy_ids", [])
    if ("policy_id" in body) == bool(ids):
        raise invalid("policy_id", "exactly one of policy_id and add_policy_ids is needed")
    for policy_id in ids or [body["policy_id"]]:
        attach_policy(call.world, vault, policy_id, body.get("destination_vault_id"))
    first = (ids or [body["policy_id"]])[0]
    answer = {"vault_id": vault.id, "policy_id": first}
    if vault.policies.get(first) is not None:
        answer["destination_vault_id"] = str(vault.policies[first])
    return {"associate_policy": answer}


def disassociate_vault_policy(call: Call) -> object:
    """Release a policy; 6002 if it is not bound."""
    vault, policy_id = _vault(call), call.body["policy_id"]
    call.world.policy(call.project_id, policy_id)
    if policy_id not in vault.policies:
        raise service_error(6002, "The policy is not bound to the vault.")
    del vault.policies[policy_id]
    return {"dissociate_policy": {"vault_id": vault.id, "policy_id": policy_id}}


def batch_update_vault(call: Call) -> object:
    """Change all vaults of the project."""
    vaults = call.world.paging.ordered(own_vaults(call))
    for vault in vaults:
        for name, value in call.body["vault"].items():
            setattr(vault, name, value)
    return {"updated_vaults_id": [vault.id for vault in vaults]}


def show_summary(call: Call) -> object:
    """Answer total and used GB of the project."""
    vaults = own_vaults(call)
    used_mb = sum(call.world.used_mb(vault.id) for vault in vaults)
    return {"size": sum(vault.size for vault in vaults), "used_size": -(-used_mb // 1024)}


LIST_QUERY = {
    **PAGING,
    "name": q_text,
    "cloud_type": q_word("public", "hybrid"),
    "protect_type": q_word("backup", "replication", "hybrid"),
    "object_type": q_word(*OBJECT_TYPES),
    "enterprise_project_id": q_text,
    "id": q_list,
    "policy_id": q_text,
    "status": q_text,
    "resource_ids": q_text,
}
VAULTS = "/v3/{project_id}/vaults"
VAULT = VAULTS + "/{vault_id}"

ROUTES = (
    Route("ListVault", "GET", VAULTS, list_vault, query=LIST_QUERY),
    Route("CreateVault", "POST", VAULTS, create_vault, body=CREATE_BODY),
    Route("BatchUpdateVault", "PUT", VAULTS + "/batch-update", batch_update_vault, body=BATCH_BODY),
    Route("ShowSummary", "GET", VAULTS + "/summary", show_summary),
    Route("ShowVault", "GET", VAULT, show_vault),
    Route("UpdateVault", "PUT", VAULT, update_vault, body=UPDATE_BODY),
    Route("DeleteVault", "DELETE", VAULT, delete_vault, 204),
    Route("AddVaultResource", "POST", VAULT + "/addresources", add_vault_resource, body=ADD_BODY),
    Route(
        "RemoveVaultResource",
        "POST",
        VAULT + "/removeresources",
        remove_vault_resource,
        body=fields.record(resource_ids=IDS),
    ),
    Route(
        "MigrateVaultResource",
        "POST",
        VAULT + "/migrateresources",
        migrate_vault_resource,
        body=fields.record(destination_vault_id=Need(fields.text(1)), resource_ids=IDS),
    ),
    Route(
        "SetVaultResource",
        "PUT",
        VAULT + "/set-resources",
        set_vault_resource,
        body=fields.record(resource_ids=IDS, action=Need(fields.word("suspend", "unsuspend"))),
    ),
    Route(
        "AssociateVaultPolicy",
        "POST",
        VAULT + "/associatepolicy",
        associate_vault_policy,
        body=ASSOCIATE_BODY,
    ),
    Route(
        "DisassociateVaultPolicy",
        "POST",
        VAULT + "/dissociatepolicy",
        disassociate_vault_policy,
        body=fields.record(policy_id=Need(fields.text(1))),
    ),
)
