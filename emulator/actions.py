"""What only the control API can do to the world: run a policy, pay an order, dump everything."""

from collections import defaultdict
from dataclasses import asdict
from typing import Any

from emulator import work
from emulator.backup_views import backup_view, checkpoint_view, task_view
from emulator.emulator import Emulator
from emulator.faults import RUN_POLICY, task_outcome
from emulator.model import Backup, Policy, Vault
from emulator.replication import replicate
from emulator.tasks import Outcome
from emulator.views import policy_view, protectable_view, vault_view
from emulator.world import World


def run_policy(emulator: Emulator, policy_id: str) -> list[str]:
    """Do what the scheduler would do for every vault of the policy; return the ids of the new
    tasks.

    LookupError for an unknown policy. Faults that match operation `RunPolicy` decide how the tasks
    end.
    """
    world = emulator.world
    world.tasks.settle()
    policy = world.policies.get(policy_id)
    if policy is None:
        raise LookupError("no such policy")
    striking = emulator.faults.take(RUN_POLICY, "POST", None, policy.project_id)
    outcome = task_outcome(striking)
    known = set(world.tasks.log)
    for vault in [each for each in world.vaults.values() if policy.id in each.policies]:
        if policy.operation_type == "replication":
            _run_replication(world, vault, policy, outcome)
        else:
            _run_backup(world, vault, policy, outcome)
    return [task_id for task_id in world.tasks.log if task_id not in known]


def _run_replication(world: World, vault: Vault, policy: Policy, outcome: Outcome | None) -> None:
    project = world.projects.get(policy.definition["destination_project_id"])
    destination = world.vaults.get(vault.policies[policy.id] or "")
    if project is None or destination is None:
        raise LookupError("the destination of the policy is gone")
    for backup in world.backups_in(vault.id):
        if backup.status != "available" or backup.image_type != "backup":
            continue
        if all(record.destination_region != project.region for record in backup.records):
            days = policy.definition.get("retention_duration_days", -1)
            replicate(
                world,
                backup,
                project,
                destination,
                policy_id=policy.id,
                retention_days=days,
                outcome=outcome,
            )


def _run_backup(world: World, vault: Vault, policy: Policy, outcome: Outcome | None) -> None:
    resources = [resource for resource in vault.resources.values() if resource.auto_protect]
    order = work.BackupOrder(
        auto_trigger=True,
        policy_id=policy.id,
        retention_days=policy.definition.get("retention_duration_days", -1),
        on_done=lambda: prune(world, vault, policy),
    )
    if (
        not resources
        or not work.make_checkpoint(world, vault, resources, order, outcome).backup_ids
    ):
        prune(world, vault, policy)


def prune(world: World, vault: Vault, policy: Policy) -> None:
    """Delete the oldest complete backups of the policy above `max_backups`, per resource: also of
    those that had no part in the run. Long-term counts are not looked at.
    """
    limit = policy.definition.get("max_backups", -1)
    if limit < 1:
        return
    taken: defaultdict[str, list[Backup]] = defaultdict(list)
    for backup in world.backups_in(vault.id):
        if backup.policy_id == policy.id and backup.status == "available":
            taken[backup.resource_id].append(backup)
    for mine in taken.values():
        mine.sort(key=lambda each: each.created_at)
        for backup in mine[: max(0, len(mine) - limit)]:
            work.delete_backup(world, backup, policy_id=policy.id)


def pay_order(emulator: Emulator, order_id: str) -> str:
    """Pay an open order; return the id of the vault that appears, LookupError if there is none."""
    order = emulator.world.orders.get(order_id)
    if order is None or order.vault is None:
        raise LookupError("no such open order")
    vault, order.vault, order.paid = order.vault, None, True
    emulator.world.vaults[vault.id] = vault
    return vault.id


def register_image(emulator: Emulator, backup_id: str, project_id: str) -> str:
    """Register a backup as an image of its owner or of a project it is shared with; return the
    image id.

    LookupError if the project cannot see the backup.
    """
    world = emulator.world
    backup = world.backups.get(backup_id)
    if backup is None:
        raise LookupError("no such backup")
    image_id = world.ids.new()
    if backup.project_id == project_id:
        backup.image_ids.append(image_id)
        return image_id
    member = world.member_of(backup, project_id)
    if member is None:
        raise LookupError("the backup is not shared with the project")
    member.image_id = image_id
    return image_id


def delete_resource(emulator: Emulator, resource_id: str) -> None:
    """Delete a resource in its own service; LookupError if there is none."""
    world = emulator.world
    item = world.protectables.pop(resource_id, None)
    if item is None:
        raise LookupError("no such resource")
    vault = world.vault_of(item.project_id, item.id)
    if vault is not None:
        vault.resources[item.id].protect_status = "deleted"


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
