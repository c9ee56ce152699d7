"""The life of a backup: a vault for a server, a backup, a restore, and nothing left behind."""

import os

import grpc
from cbrgateway.v1 import (
    backup_pb2,
    checkpoint_pb2,
    protectability_pb2,
    task_pb2,
    types_pb2,
    vault_pb2,
)
from cbrgateway.v1.backup_pb2_grpc import BackupServiceStub
from cbrgateway.v1.checkpoint_pb2_grpc import CheckpointServiceStub
from cbrgateway.v1.protectability_pb2_grpc import ProtectabilityServiceStub
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub
from cbrgateway_client import CallError, Gateway
from cbrgateway_client.blocking import watch_tasks


def tell(channel: grpc.Channel) -> None:
    vaults, backups = VaultServiceStub(channel), BackupServiceStub(channel)
    server = free_server(channel)
    spec = vault_pb2.VaultSpec(
        name="python-example",
        resources=[types_pb2.ResourceRef(id=server.id, type=server.type)],
        billing=vault_pb2.BillingSpec(
            size_gib=200,
            object_type=types_pb2.OBJECT_TYPE_SERVER,
            protect_type=types_pb2.PROTECT_TYPE_BACKUP,
            consistent_level=types_pb2.CONSISTENT_LEVEL_CRASH_CONSISTENT,
        ),
    )
    vault = vaults.CreateVault(vault_pb2.CreateVaultRequest(vault=spec)).vault
    print("vault", vault.id, "holds", server.name)

    request = checkpoint_pb2.CreateCheckpointRequest(
        checkpoint=checkpoint_pb2.CheckpointSpec(vault_id=vault.id)
    )
    made = CheckpointServiceStub(channel).CreateCheckpoint(request)
    follow(channel, made.submission)
    backup = backups.ListBackups(
        backup_pb2.ListBackupsRequest(checkpoint_id=made.checkpoint.id)
    ).backups[0]
    print("backup", backup.id)

    restore = backup_pb2.RestoreBackupRequest(
        backup_id=backup.id, restore=backup_pb2.RestoreSpec(server_id=server.id)
    )
    follow(channel, backups.RestoreBackup(restore).submission)
    clean_up = vault_pb2.DeleteVaultRequest(vault_id=vault.id, force=True)
    follow(channel, vaults.DeleteVault(clean_up).submission)


def free_server(channel: grpc.Channel) -> protectability_pb2.Protectable:
    servers = protectability_pb2.ListProtectablesRequest(
        protectable_type=protectability_pb2.PROTECTABLE_TYPE_SERVER
    )
    found = ProtectabilityServiceStub(channel).ListProtectables(servers).instances
    return next(
        each for each in found if each.protectable.result and not each.protectable.HasField("vault")
    )


def follow(channel: grpc.Channel, submission: types_pb2.Submission) -> None:
    """Prints the progress of the work that a call has started, until all of it has ended."""
    for left_out in submission.skipped_resources:
        print("skipped by CBR:", left_out.id, left_out.code, left_out.reason)
    wanted = task_pb2.WatchTasksRequest(
        filter=task_pb2.TaskFilter(submission_ids=[submission.id]), end_when_all_terminal=True
    )
    for event in watch_tasks(TaskServiceStub(channel), wanted):
        match event.WhichOneof("event"):
            case "update":
                print(" ", f"{event.update.task.details.common.progress_percent} %")
            case "terminal":
                task = event.terminal.task
                print(task_pb2.TaskType.Name(task.type), task_pb2.TaskStatus.Name(task.status))


def main() -> None:
    ca_file = os.environ.get("CBR_CA_FILE")
    gateway = Gateway(
        os.environ["CBR_ADDRESS"], os.environ["CBR_API_KEY"], ca_file=ca_file, plaintext=not ca_file
    )
    with gateway.channel() as channel:
        try:
            tell(channel)
        except CallError as error:
            raise SystemExit(f"{error} {error.field_violations} {error.retry_delay_s}") from error


if __name__ == "__main__":
    main()
