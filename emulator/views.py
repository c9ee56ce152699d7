"""Objects as replies show them, with the keys of live traffic: more than published models have."""

from typing import Any

from emulator.clock import naive
from emulator.model import (
    Agent,
    BoundResource,
    Member,
    OrganizationPolicy,
    Policy,
    Protectable,
    Vault,
)
from emulator.world import World

JsonObject = dict[str, Any]


def vault_view(world: World, vault: Vault) -> JsonObject:
    """Return a vault.

    Source: `Vault` plus the observed keys supplier, cross_account, frozen and so on.
    """
    per_resource: dict[str, tuple[int, int]] = {}
    used = 0
    for backup in world.backups_in(vault.id):
        count, size = per_resource.get(backup.resource_id, (0, 0))
        per_resource[backup.resource_id] = (count + 1, size + backup.size_mb)
        used += backup.size_mb
    return {
        "id": vault.id,
        "name": vault.name,
        "description": vault.description,
        "resources": [
            _bound_view(resource, *per_resource.get(resource.id, (0, 0)))
            for resource in vault.resources.values()
        ],
        "provider_id": vault.product.provider_id,
        "created_at": naive(vault.created_at),
        "project_id": vault.project_id,
        "enterprise_project_id": vault.enterprise_project_id,
        "auto_bind": vault.auto_bind,
        "bind_rules": vault.bind_rules,
        "auto_expand": vault.auto_expand,
        "smn_notify": vault.smn_notify,
        "threshold": vault.threshold,
        "user_id": vault.user_id,
        "billing": _billing_view(vault, used),
        "tags": tags_view(vault),
        "backup_name_prefix": vault.backup_name_prefix,
        "demand_billing": vault.demand_billing,
        **_observed(vault),
    }


def _observed(vault: Vault) -> JsonObject:
    """Return what the manual does not have."""
    return {
        "cbc_delete_count": 0,
        "frozen": vault.status == "frozen",
        "availability_zone": vault.availability_zone,
        "sys_lock_source_service": vault.sys_lock_source_service,
        "supplier": "",
        "locked": vault.locked,
        "cross_account": False,
        "cross_account_urn": "",
    }


def _bound_view(resource: BoundResource, backup_count: int, backup_size_mb: int) -> JsonObject:
    return {
        "id": resource.id,
        "type": resource.type,
        "name": resource.name,
        "auto_protect": resource.auto_protect,
        "size": resource.size,
        "backup_size": backup_size_mb,
        "backup_count": backup_count,
        "protect_status": resource.protect_status,
        "extra_info": resource.extra_info,
    }


def _billing_view(vault: Vault, used_mb: int) -> JsonObject:
    return {
        "allocated": vault.allocated,
        "cloud_type": vault.cloud_type,
        "consistent_level": vault.consistent_level,
        "frozen_scene": None,
        "charging_mode": vault.charging_mode,
        "order_id": vault.order_id,
        "product_id": vault.product_id,
        "protect_type": vault.protect_type,
        "object_type": vault.object_type,
        "spec_code": vault.spec_code,
        "is_multi_az": vault.is_multi_az,
        "is_double_az": vault.is_multi_az,
        "used": used_mb,
        "storage_unit": None,
        "status": vault.status,
        "size": vault.size,
        "partner_bp_id": None,
    }


def tags_view(vault: Vault) -> list[JsonObject]:
    """Return `[{"key", "value"}]`."""
    return [{"key": key, "value": value} for key, value in vault.tags.items()]


def protectable_view(world: World, item: Protectable) -> JsonObject:
    """Return a resource that can be protected, with the whole vault that protects it already."""
    vault = world.vault_of(item.project_id, item.id)
    code, reason, message = item.refusal or ("", "", "")
    verdict: JsonObject = {
        "result": item.refusal is None,
        "code": code,
        "reason": reason,
        "vault": vault_view(world, vault) if vault is not None else None,
    }
    if item.refusal is not None:
        verdict["message"] = message
    return {
        "id": item.id,
        "type": item.type,
        "name": item.name,
        "size": item.size,
        "status": item.status,
        "protectable": verdict,
        "detail": _detail(item),
        "children": [
            {
                "id": child.id,
                "name": child.name,
                "size": child.size,
                "status": child.status,
                "type": child.type,
                "children": [],
                "vault_id": vault.id if vault is not None else None,
                "vault_name": vault.name if vault is not None else None,
                "detail": _detail(child),
            }
            for child in item.children
        ],
    }


def _detail(item: Protectable) -> JsonObject:
    detail: JsonObject = {"id": item.id, "name": item.name, "status": item.status}
    if item.tags and item.kind == "server":
        detail["tags"] = [f"{key}={value}" for key, value in item.tags.items()]
    elif item.tags:
        detail["tags"] = item.tags
    if item.kind == "server":
        detail["created"] = f"{(naive(item.created_at) or '')[:19]}Z"
        detail["flavor"] = {"id": "s6.large.2", "vcpus": "2", "ram": "4096", "disk": "0"}
        detail["OS-EXT-AZ:availability_zone"] = item.az
        detail["os-extended-volumes:volumes_attached"] = [
            {
                "id": child.id,
                "device": f"/dev/vd{'abcdefghijkl'[index % 12]}",
                "bootIndex": "0" if child.bootable else None,
                "delete_on_termination": "true",
            }
            for index, child in enumerate(item.children)
        ]
    elif item.kind == "disk":
        detail |= {
            "size": item.size,
            "volume_type": "SAS",
            "bootable": str(item.bootable).lower(),
            "encrypted": item.encrypted,
            "shareable": False,
        }
    return detail


def policy_view(world: World, policy: Policy, *, created: bool = False) -> JsonObject:
    """Return a policy; right after creation `associated_vaults` is null."""
    associated = [
        {"vault_id": vault.id, "destination_vault_id": vault.policies[policy.id]}
        for vault in world.vaults.values()
        if policy.id in vault.policies
    ]
    return {
        "id": policy.id,
        "name": policy.name,
        "operation_type": policy.operation_type,
        "operation_definition": policy.definition,
        "enabled": policy.enabled,
        "policy_type": "custom_policy",
        "trigger": {
            "id": policy.trigger_id,
            "name": "default",
            "type": "time",
            "properties": policy.trigger,
        },
        "associated_vaults": None if created else associated,
    }


def member_view(member: Member) -> JsonObject:
    """Return a share."""
    return {
        "id": member.id,
        "backup_id": member.backup_id,
        "dest_project_id": member.dest_project_id,
        "status": member.status,
        "image_id": member.image_id,
        "vault_id": member.vault_id,
        "created_at": naive(member.created_at),
        "updated_at": naive(member.updated_at),
    }


def agent_view(agent: Agent) -> JsonObject:
    """Return a file backup agent."""
    return {
        "agent_id": agent.agent_id,
        **agent.host,
        "status": agent.status,
        "created_at": naive(agent.created_at),
        "updated_at": naive(agent.updated_at),
        "last_active_time": naive(agent.last_active_at),
        "paths": [
            {
                "id": path.id,
                "agent_id": agent.agent_id,
                "dir_path": path.dir_path,
                "exclude_paths": path.exclude_paths,
                "status": "available",
            }
            for path in agent.paths.values()
        ],
    }


def organization_policy_view(policy: OrganizationPolicy) -> JsonObject:
    """Return an organization policy, which keeps saying that it is being handed out."""
    return {
        "id": policy.id,
        "description": "",
        "effective_scope": policy.domain_id,
        **policy.body,
        "domain_id": policy.domain_id,
        "domain_name": policy.domain_name,
        "status": "syncing",
    }
