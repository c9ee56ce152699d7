"""What only the control API can do to the world: run a policy, pay an order, dump everything."""

from dataclasses import asdict
from typing import Any

from emulator import work
from emulator.emulator import Emulator
from emulator.model import Policy, Vault
from emulator.views import (
    backup_view,
    checkpoint_view,
    policy_view,
    protectable_view,
    task_view,
    vault_view,
)
from emulator.world import World


def run_policy(emulator: Emulator, policy_id: str) -> list[str]:
    """Do what the scheduler would do for every vault of the policy; return the ids of the new tasks.

    LookupError for an unknown policy. Faults that match operation `RunPolicy` decide how the tasks end.
    """
    world = emulator.world
    world.tasks.settle()
    policy = world.policies.get(policy_id)
    if policy is None:
        raise LookupError("no such policy")
    known = set(world.tasks.log)
    for vault in [each for each in world.vaults.values() if policy.id in each.policies]:
        _run_backup(world, vault, policy)
    return [task_id for task_id in world.tasks.log if task_id not in known]


def _run_backup(world: World, vault: Vault, policy: Policy) -> None:
    resources = [resource for resource in vault.resources.values() if resource.auto_protect]
    if not resources:
        return
    order = work.BackupOrder(
        auto_trigger=True,
        policy_id=policy.id,
        retention_days=policy.definition.get("retention_duration_days", -1),
        on_done=lambda: prune(world, vault, policy),
    )
    work.make_checkpoint(world, vault, resources, order, None)


def prune(world: World, vault: Vault, policy: Policy) -> None:
    """Delete the oldest backups of the policy above `max_backups`, per resource."""
    limit = policy.definition.get("max_backups", -1)
    if limit < 1:
        return
    for resource_id in vault.resources:
        mine = [
            backup
            for backup in world.backups_in(vault.id)
            if backup.resource_id == resource_id and backup.policy_id == policy.id and backup.status == "available"
        ]
        for backup in mine[: max(0, len(mine) - limit)]:
            work.delete_backup(world, backup, policy_id=policy.id)


def pay_order(emulator: Emulator, order_id: str) -> str:
    """Pay an open order and return the id of the vault that appears; LookupError if there is none."""
    order = emulator.world.orders.get(order_id)
    if order is None or order.vault is None:
        raise LookupError("no such open order")
    vault, order.vault, order.paid = order.vault, None, True
    emulator.world.vaults[vault.id] = vault
    return vault.id


def dump(emulator: Emulator) -> dict[str, Any]:
    """Return every object as clients would see it."""
    world = emulator.world
    world.tasks.settle()
    return {
        "projects": [asdict(project) for project in world.projects.values()],
        "protectables": [protectable_view(world, each) for each in world.protectables.values()],
        "vaults": [vault_view(world, each) for each in world.vaults.values()],
        "policies": [policy_view(world, each) for each in world.policies.values()],
        "checkpoints": [checkpoint_view(each, created=True) for each in world.checkpoints.values()],
        "backups": [backup_view(world, each, detail=True) for each in world.backups.values()],
        "operation_logs": [task_view(world, each) for each in world.tasks.log.values()],
        "members": [asdict(each) for group in world.members.values() for each in group.values()],
        "agents": [asdict(each) for each in world.agents.values()],
        "organization_policies": [asdict(each) for each in world.organization_policies.values()],
        "orders": [asdict(each) for each in world.orders.values()],
    }
