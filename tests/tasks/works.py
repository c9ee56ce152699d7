"""The asynchronous changes, each with what it needs, and the submissions that they lead to."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cbrgateway.v1 import backup_pb2, checkpoint_pb2, task_pb2, types_pb2, vault_pb2
from cbrgateway.v1.backup_pb2_grpc import BackupServiceStub
from cbrgateway.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from cbrgateway.v1.protectability_pb2 import ListProtectablesRequest
from cbrgateway.v1.protectability_pb2_grpc import ProtectabilityServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.settings import STANDBY_PROJECT_ID
from emulator.transitions import Mode, Pace
from tests.harness import STANDBY_REGION, World, running_gateway, tenant_entry

FAST = {"correlate": True, "settle_s": 1, "give_up_s": 60}
IMPATIENT = FAST | {"settle_s": 0.5, "give_up_s": 1}
UNLISTED = {
    "kind": "list_lag",
    "match": {"operation": "ListOpLogs"},
    "seconds": 3600,
    "times": None,
}
"""A fault: no list shows a task that was made since."""
BILLING = {
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "size_gib": 2000,
}


def gateway(**sections: Any):
    """Backups and the like take an hour, so that nothing ends unless a test says so."""
    payments, standby = tenant_entry("payments"), tenant_entry("standby")
    # Replicas go to another project of the same tenant.
    tenants = [
        {**payments, "projects": payments["projects"] + standby["projects"]},
        tenant_entry("databases"),
        tenant_entry("admin"),
    ]
    known = {
        "tenants": tenants,
        "tasks": FAST,
        "quota": {"markers": False, "sweep_s": 1, "settle_s": 1},
        **sections,
    }
    return running_gateway(sections=known, pace=Pace(Mode.TIME, duration_s=3600))


def finish(world: World) -> None:
    """All work that is under way ends now, and later work at once."""
    tasks = world.emulator.state.world.tasks
    tasks.set_pace(Pace(Mode.IMMEDIATE))
    tasks.settle()


def slow(world: World) -> None:
    world.emulator.state.world.tasks.set_pace(Pace(Mode.TIME, duration_s=3600))


class Scene:
    """Calls of one tenant, and objects to make them with."""

    def __init__(self, world: World, tenant: str = "payments", *more: tuple[str, str]) -> None:
        self.world = world
        self.metadata = world.metadata(tenant, *more)
        self.vaults = world.stub(VaultServiceStub)
        self.backups = world.stub(BackupServiceStub)
        self.checkpoints = world.stub(CheckpointServiceStub)
        self.tasks = world.stub(TaskServiceStub)

    async def call(self, method: Callable[..., Awaitable[Any]], request: Any) -> Any:
        return await method(request, metadata=self.metadata, timeout=60)

    async def servers(self, count: int) -> list[types_pb2.ResourceRef]:
        listed = self.world.stub(ProtectabilityServiceStub).ListProtectables
        found = await self.call(
            listed,
            ListProtectablesRequest(protectable_type="PROTECTABLE_TYPE_SERVER", name="server-0"),
        )
        free = [row for row in found.instances if not row.protectable.vault.id]
        return [types_pb2.ResourceRef(id=row.id, type=row.type) for row in free[:count]]

    async def vault(self, servers: int = 1, name: str = "vault", **billing: str) -> Any:
        resources = await self.servers(servers) if servers else []
        spec = {"name": name, "billing": {**BILLING, **billing}}
        request = vault_pb2.CreateVaultRequest(vault=spec)
        request.vault.resources.extend(resources)
        return (await self.call(self.vaults.CreateVault, request)).vault

    async def checkpoint(self, vault_id: str, **more: Any) -> Any:
        wanted = checkpoint_pb2.CreateCheckpointRequest(checkpoint={"vault_id": vault_id, **more})
        return await self.call(self.checkpoints.CreateCheckpoint, wanted)

    async def backup(self, servers: int = 1) -> Any:
        """A finished backup."""
        held = await self.vault(servers)
        await self.checkpoint(held.id)
        finish(self.world)
        slow(self.world)
        return (
            await self.call(
                self.backups.ListBackups, backup_pb2.ListBackupsRequest(vault_id=held.id)
            )
        ).backups[0]

    async def submission(self, submission_id: str) -> types_pb2.Submission:
        found = await self.call(
            self.tasks.GetSubmission, task_pb2.GetSubmissionRequest(submission_id=submission_id)
        )
        return found.submission

    async def known(
        self, submission_id: str, *, state: str = "RESOLVED", within_s: float = 15
    ) -> types_pb2.Submission:
        """The submission once it is in a state."""
        wanted = types_pb2.SubmissionState.Value(f"SUBMISSION_STATE_{state}")
        ends_at = time.monotonic() + within_s
        while (found := await self.submission(submission_id)).state != wanted:
            assert time.monotonic() < ends_at, f"still {found}"
            await asyncio.sleep(0.05)
        return found

    def started(self, kind: str) -> list[str]:
        """Ids of the tasks of one type that really exist, oldest first."""
        return [
            task.id
            for task in self.world.emulator.state.world.tasks.log.values()
            if task.type == kind
        ]

    async def place(self) -> dict[str, str]:
        """Where replicas go."""
        there = await Scene(self.world, "payments", ("x-cbr-project-id", STANDBY_PROJECT_ID)).vault(
            0, protect_type="PROTECT_TYPE_REPLICATION"
        )
        return {
            "destination_project_id": STANDBY_PROJECT_ID,
            "destination_region": STANDBY_REGION,
            "destination_vault_id": there.id,
        }


# One function for each asynchronous RPC: makes what is needed, calls, and answers the response with
# the emulator's type of the task ----------


async def create_checkpoint(scene: Scene) -> tuple[Any, str]:
    return await scene.checkpoint((await scene.vault(2)).id), "backup"


async def restore_backup(scene: Scene) -> tuple[Any, str]:
    backup = await scene.backup()
    request = backup_pb2.RestoreBackupRequest(
        backup_id=backup.id, restore={"server_id": backup.resource_id}
    )
    return await scene.call(scene.backups.RestoreBackup, request), "restore"


async def delete_backup(scene: Scene) -> tuple[Any, str]:
    request = backup_pb2.DeleteBackupRequest(backup_id=(await scene.backup()).id)
    return await scene.call(scene.backups.DeleteBackup, request), "delete"


async def replicate_backup(scene: Scene) -> tuple[Any, str]:
    backup = await scene.backup()
    request = backup_pb2.ReplicateBackupRequest(backup_id=backup.id, replicate=await scene.place())
    return await scene.call(scene.backups.ReplicateBackup, request), "replication"


async def replicate_checkpoint(scene: Scene) -> tuple[Any, str]:
    backup = await scene.backup(2)
    request = checkpoint_pb2.ReplicateCheckpointRequest(
        replicate={"vault_id": backup.vault_id, **await scene.place()}
    )
    return await scene.call(scene.checkpoints.ReplicateCheckpoint, request), "replication"


async def hybrid_vault(scene: Scene) -> Any:
    spec = {
        "name": "hybrid",
        "billing": {
            **BILLING,
            "cloud_type": "CLOUD_TYPE_HYBRID",
            "object_type": "OBJECT_TYPE_VMWARE",
        },
    }
    return (
        await scene.call(scene.vaults.CreateVault, vault_pb2.CreateVaultRequest(vault=spec))
    ).vault


async def sync_backups(scene: Scene) -> tuple[Any, str]:
    await hybrid_vault(scene)
    image = {
        "bucket_name": "b",
        "image_path": "p",
        "resource_name": "vm",
        "resource_type": "OS::Native::Server",
        "create_time": {"seconds": 1759392001},
    }
    wanted = [
        {
            "backup_id": f"00000000-0000-0000-0000-00000000000{n}",
            "backup_name": f"vm-{n}",
            "resource_id": f"r{n}",
            **image,
        }
        for n in (1, 2)
    ]
    return (
        await scene.call(scene.backups.SyncBackups, backup_pb2.SyncBackupsRequest(sync=wanted)),
        "sync",
    )


async def sync_checkpoint(scene: Scene) -> tuple[Any, str]:
    request = checkpoint_pb2.SyncCheckpointRequest(
        sync={"vault_id": (await hybrid_vault(scene)).id, "auto_trigger": False}
    )
    return await scene.call(scene.checkpoints.SyncCheckpoint, request), "sync"


async def delete_vault(scene: Scene) -> tuple[Any, str]:
    return (
        await scene.call(
            scene.vaults.DeleteVault,
            vault_pb2.DeleteVaultRequest(vault_id=(await scene.vault()).id),
        ),
        "vault_delete",
    )


async def remove_resources(scene: Scene) -> tuple[Any, str]:
    held = await scene.vault(2)
    request = vault_pb2.RemoveVaultResourcesRequest(
        vault_id=held.id, resource_ids=[each.id for each in held.resources]
    )
    return await scene.call(scene.vaults.RemoveVaultResources, request), "remove_resource"


async def migrate_resources(scene: Scene) -> tuple[Any, str]:
    held, other = await scene.vault(2), await scene.vault(0, "other")
    resources = [each.id for each in held.resources]
    request = vault_pb2.MigrateVaultResourcesRequest(
        vault_id=held.id, destination_vault_id=other.id, resource_ids=resources
    )
    return await scene.call(scene.vaults.MigrateVaultResources, request), "migrate_resources"


async def update_expiration(scene: Scene) -> tuple[Any, str]:
    vault_id = (await scene.backup()).vault_id
    day = {"year": 2099, "month": 1, "day": 1}
    request = vault_pb2.UpdateBackupExpirationRequest(
        vault_id=vault_id, expiration_date=day, time_zone="UTC+08:00"
    )
    return await scene.call(scene.vaults.UpdateBackupExpiration, request), "update_expiration_time"


WORKS = {
    "CheckpointService/CreateCheckpoint": create_checkpoint,
    "CheckpointService/ReplicateCheckpoint": replicate_checkpoint,
    "CheckpointService/SyncCheckpoint": sync_checkpoint,
    "BackupService/RestoreBackup": restore_backup,
    "BackupService/DeleteBackup": delete_backup,
    "BackupService/ReplicateBackup": replicate_backup,
    "BackupService/SyncBackups": sync_backups,
    "VaultService/DeleteVault": delete_vault,
    "VaultService/RemoveVaultResources": remove_resources,
    "VaultService/MigrateVaultResources": migrate_resources,
    "VaultService/UpdateBackupExpiration": update_expiration,
}
