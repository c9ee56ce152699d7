"""Rules for vaults and the resources in them: who fits where, how much, what a new vault has."""

from dataclasses import replace
from typing import Any

from emulator.errors import invalid, service_error
from emulator.fields import JsonObject
from emulator.model import BoundResource, Protectable, Vault
from emulator.routing import Call
from emulator.world import World

MAX_RESOURCES = 256
PLAIN_FIELDS = (
    "auto_bind",
    "bind_rules",
    "auto_expand",
    "smn_notify",
    "threshold",
    "backup_name_prefix",
    "demand_billing",
    "locked",
    "availability_zone",
    "sys_lock_source_service",
)
"""Fields a vault takes over from its order as they are."""

REPLICABLE = ("server", "turbo")
"""Kinds of vaults whose backups can go to another region."""

USABLE = ("available", "lock")
"""A vault with an order under way (`lock`) still takes policy and resource changes."""


def new_vault(call: Call, body: JsonObject) -> Vault:
    """Return a vault as ordered, its resources bound, its policy attached; nothing is stored yet.

    `body` is the `vault` object of CreateVault or CreatePostPaidVault.
    """
    billing = body["billing"]
    vault = Vault(
        id=call.world.ids.new(),
        project_id=call.project_id,
        name=body.get("name", f"vault-{call.world.ids.suffix()}"),
        size=billing["size"],
        object_type=billing["object_type"],
        protect_type=billing["protect_type"],
        consistent_level=billing["consistent_level"],
        user_id=call.account.user_id,
        created_at=call.world.clock.now(),
        cloud_type=billing.get("cloud_type", "public"),
        charging_mode=billing.get("charging_mode", "post_paid"),
        is_multi_az=billing.get("is_multi_az", False),
        description=body.get("description"),
        tags={tag["key"]: tag.get("value") for tag in body.get("tags", [])},
        enterprise_project_id=body.get("enterprise_project_id", "0"),
    )
    for name in PLAIN_FIELDS:
        if name in body:
            setattr(vault, name, body[name])
    if vault.auto_expand and vault.charging_mode == "pre_paid":
        raise invalid("vault.auto_expand", "only post-paid vaults expand")
    bind(call.world, vault, body["resources"])
    if "backup_policy_id" in body:
        attach_policy(call.world, vault, body["backup_policy_id"], None)
    return vault


def bind(world: World, vault: Vault, wishes: list[JsonObject]) -> None:
    """Add resources to a vault, all or none.

    Refuses with 6102, 6103, 6104, 6100, 6108, 6302, 71xx.
    """
    ids = [wish["id"] for wish in wishes]
    if len(set(ids)) != len(ids):
        raise service_error(6104, "Duplicate resource.")
    if wishes and vault.protect_type != "backup":
        raise service_error(6108, "The vault takes no resources.")
    resources = vault.resources | {wish["id"]: _fitting(world, vault, wish) for wish in wishes}
    if len(resources) > MAX_RESOURCES:
        raise service_error(6100, f"Resources of vault over limit: {MAX_RESOURCES}.")
    needed = sum(resource.size for resource in resources.values())
    if vault.auto_expand:
        vault.size = max(vault.size, needed)
    require_capacity(world, vault, needed)
    vault.resources = resources


def require_capacity(world: World, vault: Vault, needed: int) -> None:
    """Refuse with 6108 what is beyond the size of a vault; only if capacity is strict."""
    if world.settings.strict_capacity and needed > vault.size:
        raise service_error(
            6108, f"The vault of {vault.size} GB cannot hold resources of {needed} GB."
        )


def _fitting(world: World, vault: Vault, wish: JsonObject) -> BoundResource:
    if wish["type"] not in vault.product.resource_types:
        raise service_error(6102, f"Resources of type {wish['type']} do not fit the vault.")
    item = world.protectables.get(wish["id"])
    if item is None or item.project_id != vault.project_id or item.type != wish["type"]:
        raise service_error(6302, f"The resource {wish['id']} does not exist.")
    if item.refusal is not None:
        raise service_error(int(item.refusal[0].rpartition(".")[2]), item.refusal[2])
    owner = world.vault_of(vault.project_id, item.id)
    bound = vault.resources.get(item.id)
    # Without a selection the one that it has stays; empty lists are one that leaves nothing out.
    extra = wish.get("extra_info") or (bound.extra_info if bound else {})
    size = protected_size(item, extra)
    if owner is None:
        return BoundResource(item.id, item.type, item.name, size, extra)
    if owner.id != vault.id:
        raise service_error(6103, "Resource already in other vault.")
    if bound is None or bound.extra_info == extra:
        raise service_error(6103, "Resource is in the vault.")
    return replace(bound, size=size, extra_info=extra)


def protected_size(item: Protectable, extra: dict[str, Any]) -> int:
    """Return the GB of a resource that count: of a server only the disks that are not left out."""
    if item.kind != "server":
        return item.size
    disks = {disk.id: disk.size for disk in item.children}
    excluded = extra.get("exclude_volumes", [])
    included = [each["id"] for each in extra.get("include_volumes", [])]
    for unknown in (set(excluded) | set(included)) - set(disks):
        raise service_error(7000, f"The disk {unknown} does not exist.")
    kept = [
        size
        for disk, size in disks.items()
        if disk not in excluded and (not included or disk in included)
    ]
    return sum(kept)


def bound_resources(vault: Vault, ids: list[str]) -> list[BoundResource]:
    """Return these resources of the vault, or refuse with 6135."""
    for resource_id in ids:
        if resource_id not in vault.resources:
            raise service_error(6135, f"The resource {resource_id} is not in the vault.")
    return [vault.resources[resource_id] for resource_id in dict.fromkeys(ids)]


def require_usable(vault: Vault) -> None:
    """Refuse with 6112 unless the vault takes changes."""
    if vault.status not in USABLE:
        raise service_error(6112, f"Vault status is illegal, allow status: {', '.join(USABLE)}.")


def attach_policy(
    world: World, vault: Vault, policy_id: str, destination_vault_id: str | None
) -> None:
    """Bind a policy to a vault; it replaces one of the same type.

    Refuses with 6000, 6118, 6119, 6120, 6127.
    """
    policy = world.policy(vault.project_id, policy_id)
    if vault.protect_type != "backup":
        raise service_error(6127, "The policy does not fit the vault.")
    if policy.operation_type == "replication":
        if vault.object_type not in REPLICABLE:
            raise service_error(6122, "Resources of this vault cannot be replicated.")
        if destination_vault_id is None:
            raise invalid("destination_vault_id", "is required for a replication policy")
        destination = replica_vault(
            world, policy.definition["destination_project_id"], destination_vault_id
        )
        destination_vault_id = destination.id
    elif destination_vault_id is not None:
        raise invalid("destination_vault_id", "is for replication policies")
    for other_id in list(vault.policies):
        if world.policies[other_id].operation_type == policy.operation_type:
            del vault.policies[other_id]
    vault.policies[policy.id] = destination_vault_id


def replica_vault(world: World, project_id: str, vault_id: str) -> Vault:
    """Return the vault in another project that is to take replicas; otherwise 6118, 6119, 6120."""
    vault = world.vaults.get(vault_id)
    if vault is None or vault.project_id != project_id:
        raise service_error(6120, "The destination vault does not exist.")
    if vault.protect_type != "replication":
        raise service_error(6119, "The destination vault does not replicate.")
    if vault.status not in USABLE:
        raise service_error(6118, "The destination vault is not available.")
    return vault
