"""The life of a backup, told in calls: everything that a newcomer wants to have seen once.

Each step checks what it got.
"""

from typing import Final

from cbrgateway.v1 import (
    backup_pb2,
    backup_share_pb2,
    checkpoint_pb2,
    policy_pb2,
    protectability_pb2,
    task_pb2,
    types_pb2,
    vault_pb2,
)
from cbrgateway_client import Gateway, watch_tasks

from cbrctl.progress import percent, state, task_in
from devstack.caller import Caller
from devstack.mistakes import make_mistakes
from devstack.screen import Screen
from devstack.surprise import expect
from devstack.tenants import DATABASES, PAYMENTS

VAULT_GIB: Final = 500


def tell(address: str, screen: Screen) -> None:
    """The whole story.

    Leaves nothing behind; raises Surprise or CallError where it goes otherwise.
    """
    payments, databases = (
        Gateway(address, tenant.api_key, plaintext=True) for tenant in (PAYMENTS, DATABASES)
    )
    with payments.channel() as ours, databases.channel() as theirs:
        _tell(Story(Caller(ours), Caller(theirs), screen), screen)


def _tell(story: "Story", screen: Screen) -> None:
    server = story.choose_server()
    vault = story.create_vault(server)
    policy = story.associate_policy(vault)
    backup = story.back_up(vault)
    story.restore(backup, server)
    story.share(backup)
    make_mistakes(story.owner, screen, server, story.new_vault(story.owner, "demo-second"))
    story.clean_up(backup, policy)


class Story:
    """The steps. `owner` is the tenant payments, `friend` the tenant databases."""

    def __init__(self, owner: Caller, friend: Caller, screen: Screen) -> None:
        self.owner, self.friend, self._screen = owner, friend, screen
        self._vaults: list[tuple[Caller, types_pb2.Vault]] = []

    def choose_server(self) -> protectability_pb2.Protectable:
        self._screen.step("ListProtectables: which servers can be protected?")
        request = protectability_pb2.ListProtectablesRequest(
            protectable_type=protectability_pb2.PROTECTABLE_TYPE_SERVER
        )
        servers = self.owner.protectables.ListProtectables(request).instances
        for server in servers:
            verdict = server.protectable
            state = (
                f"in vault {verdict.vault.name}"
                if verdict.HasField("vault")
                else "free"
                if verdict.result
                else verdict.message
            )
            self._screen.say(f"{server.id}  {server.name:<18} {server.size_gib:>4} GiB  {state}")
        free = [
            server
            for server in servers
            if server.protectable.result and not server.protectable.HasField("vault")
        ]
        expect(bool(free), "no server is free to be protected")
        return free[0]

    def create_vault(self, server: protectability_pb2.Protectable) -> str:
        """The id of a vault that holds the server."""
        self._screen.step(
            f"CreateVault, AddVaultResources: a vault of {VAULT_GIB} GiB for {server.name}"
        )
        vault_id = self.new_vault(self.owner, "demo")
        wanted = [types_pb2.ResourceRef(id=server.id, type=server.type, name=server.name)]
        added = self.owner.vaults.AddVaultResources(
            vault_pb2.AddVaultResourcesRequest(vault_id=vault_id, resources=wanted)
        )
        expect(list(added.added_resource_ids) == [server.id], "the server was not added")
        vault = self.owner.vaults.GetVault(vault_pb2.GetVaultRequest(vault_id=vault_id)).vault
        expect(
            [resource.id for resource in vault.resources] == [server.id],
            "the vault does not hold the server",
        )
        self._screen.say(
            f"vault {vault_id} holds {server.name}: {vault.billing.allocated_gib} of"
            f" {vault.billing.size_gib} GiB allocated"
        )
        return vault_id

    def new_vault(self, caller: Caller, name: str) -> str:
        billing = vault_pb2.BillingSpec(
            consistent_level=types_pb2.CONSISTENT_LEVEL_CRASH_CONSISTENT,
            object_type=types_pb2.OBJECT_TYPE_SERVER,
            protect_type=types_pb2.PROTECT_TYPE_BACKUP,
            size_gib=VAULT_GIB,
        )
        request = vault_pb2.CreateVaultRequest(
            vault=vault_pb2.VaultSpec(name=name, billing=billing)
        )
        vault = caller.vaults.CreateVault(request).vault
        expect(
            vault.billing.status == types_pb2.VAULT_STATUS_AVAILABLE,
            f"vault {name} is not available",
        )
        self._vaults.append((caller, vault))
        return vault.id

    def associate_policy(self, vault_id: str) -> str:
        """The id of a policy that backs the vault up every night."""
        self._screen.step("CreatePolicy, AssociateVaultPolicy: back up every night, keep 7 backups")
        spec = policy_pb2.PolicySpec(
            name="demo-nightly",
            operation_type=types_pb2.POLICY_OPERATION_TYPE_BACKUP,
            operation_definition=types_pb2.PolicyOperationDefinition(max_backups=7),
            trigger=types_pb2.PolicyTriggerSpec(
                properties=types_pb2.PolicyTriggerSpecProperties(
                    pattern=["FREQ=DAILY;BYHOUR=2;BYMINUTE=0"]
                )
            ),
        )
        policy = self.owner.policies.CreatePolicy(
            policy_pb2.CreatePolicyRequest(policy=spec)
        ).policy
        self.owner.vaults.AssociateVaultPolicy(
            vault_pb2.AssociateVaultPolicyRequest(vault_id=vault_id, policy_id=policy.id)
        )
        found = self.owner.policies.ListPolicies(
            policy_pb2.ListPoliciesRequest(vault_id=vault_id)
        ).policies
        expect([each.id for each in found] == [policy.id], "the vault does not have the policy")
        self._screen.say(f"policy {policy.id}: {found[0].trigger.properties.pattern[0]}")
        return policy.id

    def back_up(self, vault_id: str) -> backup_pb2.Backup:
        self._screen.step("CreateCheckpoint, WatchTasks, ListBackups: back up now, and watch")
        spec = checkpoint_pb2.CheckpointSpec(
            vault_id=vault_id, parameters=checkpoint_pb2.CheckpointParameters(name="demo")
        )
        made = self.owner.checkpoints.CreateCheckpoint(
            checkpoint_pb2.CreateCheckpointRequest(checkpoint=spec)
        )
        self._watch("backup", self.owner, made.submission)
        request = backup_pb2.ListBackupsRequest(checkpoint_id=made.checkpoint.id)
        backups = self.owner.backups.ListBackups(request).backups
        expect(
            [each.status for each in backups] == [backup_pb2.BACKUP_STATUS_AVAILABLE],
            "there is not one available backup",
        )
        self._screen.say(
            f"backup {backups[0].id} of {backups[0].resource_name},"
            f" {backups[0].resource_size_gib} GiB"
        )
        return backups[0]

    def restore(self, backup: backup_pb2.Backup, server: protectability_pb2.Protectable) -> None:
        self._screen.step(f"RestoreBackup: put it back onto {server.name}")
        request = backup_pb2.RestoreBackupRequest(
            backup_id=backup.id, restore=backup_pb2.RestoreSpec(server_id=server.id)
        )
        self._watch("restore", self.owner, self.owner.backups.RestoreBackup(request).submission)

    def share(self, backup: backup_pb2.Backup) -> None:
        self._screen.step(
            f"AddBackupMembers, UpdateBackupMember: share it with the tenant {DATABASES.name}, who"
            " accepts"
        )
        self._offer(backup)
        vault_id = self.new_vault(self.friend, "demo-shared")
        accept = backup_share_pb2.UpdateBackupMemberRequest(
            backup_id=backup.id,
            member_id=DATABASES.project_id,
            status=types_pb2.MEMBER_STATUS_ACCEPTED,
            vault_id=vault_id,
        )
        self.friend.shares.UpdateBackupMember(accept)
        seen = self.owner.shares.ListBackupMembers(
            backup_share_pb2.ListBackupMembersRequest(backup_id=backup.id)
        ).members
        expect(
            [member.status for member in seen] == [types_pb2.MEMBER_STATUS_ACCEPTED],
            "the share is not accepted",
        )
        self._screen.say(
            f"project {seen[0].destination_project_id} accepted it into vault {vault_id}"
        )

    def _offer(self, backup: backup_pb2.Backup) -> None:
        """To the other tenant, who sees it."""
        offer = backup_share_pb2.AddBackupMembersRequest(
            backup_id=backup.id, project_ids=[DATABASES.project_id]
        )
        members = self.owner.shares.AddBackupMembers(offer).members
        expect(
            [member.status for member in members] == [types_pb2.MEMBER_STATUS_PENDING],
            "the share is not pending",
        )
        pending = backup_pb2.ListBackupsRequest(
            own_type=backup_pb2.BACKUP_OWN_TYPE_SHARED,
            member_status=types_pb2.MEMBER_STATUS_PENDING,
        )
        offered = self.friend.backups.ListBackups(pending).backups
        expect(
            backup.id in {each.id for each in offered},
            "the tenant databases does not see the offer",
        )

    def clean_up(self, backup: backup_pb2.Backup, policy_id: str) -> None:
        self._screen.step(
            "DeleteBackupMember, DeleteBackup, DeleteVault, DeletePolicy: leave nothing behind"
        )
        member = backup_share_pb2.DeleteBackupMemberRequest(
            backup_id=backup.id, member_id=DATABASES.project_id
        )
        self.owner.shares.DeleteBackupMember(member)
        deleted = self.owner.backups.DeleteBackup(
            backup_pb2.DeleteBackupRequest(backup_id=backup.id)
        )
        self._watch("delete the backup", self.owner, deleted.submission)
        started = [
            caller.vaults.DeleteVault(vault_pb2.DeleteVaultRequest(vault_id=vault.id, force=True))
            for caller, vault in self._vaults
        ]
        for (caller, vault), answer in zip(self._vaults, started, strict=True):
            self._watch(f"delete the vault {vault.name}", caller, answer.submission)
            left = caller.vaults.ListVaults(vault_pb2.ListVaultsRequest(ids=[vault.id])).vaults
            expect(not left, f"vault {vault.name} is still there")
        self.owner.policies.DeletePolicy(policy_pb2.DeletePolicyRequest(policy_id=policy_id))

    def _watch(self, title: str, caller: Caller, submission: types_pb2.Submission) -> None:
        """Waits for the only task of a change."""
        mine = task_pb2.TaskFilter(submission_ids=[submission.id])
        tasks: dict[str, task_pb2.Task] = {}
        with self._screen.progress(title) as advance:
            for event in watch_tasks(
                caller.tasks, task_pb2.WatchTasksRequest(filter=mine, end_when_all_terminal=True)
            ):
                if task := task_in(event):
                    tasks[task.id] = task
                    advance(percent(task), state(task))
        expect(len(tasks) == 1, f"{len(tasks)} tasks instead of one: {title}")
        for task in tasks.values():
            expect(task.status == task_pb2.TASK_STATUS_SUCCEEDED, f"{title} {state(task)}")
