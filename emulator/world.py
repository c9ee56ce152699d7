"""The state of the emulated service, and the look-ups every route needs.

One world serves all projects: sharing and replication cross them. Look-ups by id take the caller's
project and refuse foreign objects exactly like missing ones. Nothing here is async, so each handler
is atomic.
"""

from collections.abc import Iterator

from emulator.clock import Clock
from emulator.errors import invalid, malformed_url, service_error
from emulator.fields import UUID
from emulator.ids import Ids
from emulator.model import (
    Agent,
    Backup,
    BoundResource,
    Checkpoint,
    Member,
    Order,
    OrganizationPolicy,
    Policy,
    Protectable,
    Vault,
)
from emulator.settings import Account, EmulatorSettings, Project
from emulator.tasks import Tasks


class World:
    """Everything that `reset` throws away."""

    def __init__(self, settings: EmulatorSettings, clock: Clock, ids: Ids) -> None:
        self.settings = settings
        self.clock = clock
        self.ids = ids
        self.paging = settings.paging
        self.tasks = Tasks(clock, ids, settings.pace)
        self.projects: dict[str, Project] = {project.id: project for project in settings.projects()}
        self.account_of: dict[str, Account] = {
            project.id: account for account in settings.accounts for project in account.projects
        }
        self.protectables: dict[str, Protectable] = {}
        self.vaults: dict[str, Vault] = {}
        self.backups: dict[str, Backup] = {}
        self._backups_of_vault: dict[str, dict[str, Backup]] = {}
        self.checkpoints: dict[str, Checkpoint] = {}
        self.members: dict[str, dict[str, Member]] = {}
        self.policies: dict[str, Policy] = {}
        self.organization_policies: dict[str, OrganizationPolicy] = {}
        self.agents: dict[str, Agent] = {}
        self.orders: dict[str, Order] = {}
        self.migrations: dict[str, float] = {}
        """Account id -> when its upgrade (POST /v3/migrates) started."""

    # Look-ups that refuse

    def vault(self, project_id: str, vault_id: str) -> Vault:
        """Return the vault; 9900 for an id that is none, 6105 if the project has no such vault."""
        if not UUID.fullmatch(vault_id):
            raise invalid("vault_id")
        vault = self.vaults.get(vault_id)
        if vault is None or vault.project_id != project_id:
            raise service_error(6105, "The vault does not exist.")
        return vault

    def backup(self, project_id: str, backup_id: str, *, shared: bool = False) -> Backup:
        """Return the backup; `shared` admits projects it is shared with. Otherwise 401 or 6200."""
        if not UUID.fullmatch(backup_id):
            raise malformed_url()
        backup = self.backups.get(backup_id)
        if backup is not None and backup.project_id == project_id:
            return backup
        if backup is not None and shared and self.member_of(backup, project_id) is not None:
            return backup
        raise service_error(6200, "The backup does not exist.")

    def checkpoint(self, project_id: str, checkpoint_id: str) -> Checkpoint:
        """Return the checkpoint; 401 or 6217 otherwise."""
        if not UUID.fullmatch(checkpoint_id):
            raise malformed_url()
        checkpoint = self.checkpoints.get(checkpoint_id)
        if checkpoint is None or checkpoint.project_id != project_id:
            raise service_error(6217, "The checkpoint does not exist.")
        return checkpoint

    def policy(self, project_id: str, policy_id: str) -> Policy:
        """Return the policy or refuse with 6000."""
        policy = self.policies.get(policy_id)
        if policy is None or policy.project_id != project_id:
            raise service_error(6000, "The policy does not exist.")
        return policy

    # Look-ups that may find nothing

    def backups_in(self, vault_id: str) -> Iterator[Backup]:
        """Yield the top-level backups of a vault, oldest first."""
        yield from list(self._backups_of_vault.get(vault_id, {}).values())

    def member_of(self, backup: Backup, project_id: str) -> Member | None:
        """Return the share of this backup with the project, unless it was rejected."""
        member = self.members.get(backup.parent_id or backup.id, {}).get(project_id)
        return member if member is not None and member.status != "rejected" else None

    def vault_of(self, project_id: str, resource_id: str) -> Vault | None:
        """Return the backup vault that holds the resource, or the server the disk belongs to."""
        return next(
            (
                vault
                for vault in self.vaults.values()
                if vault.project_id == project_id
                and vault.protect_type != "replication"
                and resource_id in vault.resources
            ),
            None,
        )

    def bound(self, vault_id: str, resource_id: str) -> BoundResource | None:
        """Return the resource's entry in the vault, if both still exist."""
        vault = self.vaults.get(vault_id)
        return vault.resources.get(resource_id) if vault is not None else None

    def used_mb(self, vault_id: str) -> int:
        """Return what the backups of the vault take up."""
        return sum(backup.size_mb for backup in self._backups_of_vault.get(vault_id, {}).values())

    # Changes that touch an index

    def put_backup(self, backup: Backup) -> None:
        """Add a top-level backup with its children."""
        self._backups_of_vault.setdefault(backup.vault_id, {})[backup.id] = backup
        for each in (backup, *backup.children):
            self.backups[each.id] = each

    def drop_backup(self, backup: Backup) -> None:
        """Remove a top-level backup, its shares, and its checkpoint if that is empty now."""
        self._backups_of_vault.get(backup.vault_id, {}).pop(backup.id, None)
        for each in (backup, *backup.children):
            self.backups.pop(each.id, None)
        self.members.pop(backup.id, None)
        checkpoint = self.checkpoints.get(backup.checkpoint_id)
        if checkpoint is not None:
            if backup.id in checkpoint.backup_ids:
                checkpoint.backup_ids.remove(backup.id)
            if not checkpoint.backup_ids:
                del self.checkpoints[checkpoint.id]

    def move_backup(self, backup: Backup, vault: Vault) -> None:
        """Put a top-level backup into another vault."""
        self._backups_of_vault.get(backup.vault_id, {}).pop(backup.id, None)
        for each in (backup, *backup.children):
            each.vault_id, each.enterprise_project_id = vault.id, vault.enterprise_project_id
        self.put_backup(backup)
