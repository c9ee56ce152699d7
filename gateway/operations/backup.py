"""BackupService."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import backup_pb2, task_pb2

from gateway.errors import field_invalid
from gateway.operations import backup_state
from gateway.operations.growth import one
from gateway.operations.reads import BACKUP
from gateway.operations.searches import REPLICATIONS, ids
from gateway.upstream.amounts import Metric
from gateway.upstream.task_search import Search, Task, subjects_of
from gateway.upstream.traits import Fields, ObjectRead, Traits


def _check_private(request: backup_pb2.ListBackupsRequest, _enterprise_project: str) -> None:
    if request.own_type not in {
        backup_pb2.BACKUP_OWN_TYPE_UNSPECIFIED,
        backup_pb2.BACKUP_OWN_TYPE_PRIVATE,
    }:
        why = "backups are shared with the whole project, which is not this tenant's alone"
        raise field_invalid("own_type", f"must be left out: {why}", "owner")


LIST_BACKUPS: Final = Traits[backup_pb2.ListBackupsRequest, backup_pb2.ListBackupsResponse](
    rpc="BackupService/ListBackups",
    check_owner=_check_private,
)


def _restoring(
    request: backup_pb2.RestoreBackupRequest, answer: backup_pb2.RestoreBackupResponse | None
) -> Search:
    target = request.restore.server_id or request.restore.volume_id or request.restore.resource_id
    return Search(
        (task_pb2.TASK_TYPE_RESTORE,),
        (request.backup_id,),
        named=ids(answer and answer.task_id),
        target_id=target,
    )


RESTORE_BACKUP: Final = Traits[backup_pb2.RestoreBackupRequest, backup_pb2.RestoreBackupResponse](
    rpc="BackupService/RestoreBackup",
    refused=backup_state.restore_refused,
    search=_restoring,
    answer=lambda _request, tasks: {"task_id": tasks[0].id},
)


def _replication(request: backup_pb2.ReplicateBackupRequest, _tasks: Sequence[Task]) -> Fields:
    wanted = request.replicate
    asked = {
        fd.name: value
        for fd, value in wanted.ListFields()
        if fd.name in backup_pb2.BackupReplication.DESCRIPTOR.fields_by_name
    }
    return {"replication": {**asked, "backup_id": request.backup_id}}


REPLICATE_BACKUP: Final = Traits[
    backup_pb2.ReplicateBackupRequest, backup_pb2.ReplicateBackupResponse
](
    rpc="BackupService/ReplicateBackup",
    refused=backup_state.replication_refused,
    deltas=one(Metric.REPLICATIONS_PER_DAY),
    search=lambda request, _answer: Search(
        REPLICATIONS,
        (request.backup_id,),
        destination_project_id=request.replicate.destination_project_id,
    ),
    answer=_replication,
)

DELETE_BACKUP: Final = Traits[backup_pb2.DeleteBackupRequest, backup_pb2.DeleteBackupResponse](
    rpc="BackupService/DeleteBackup",
    refused=backup_state.delete_refused,
    gone=ObjectRead(BACKUP, lambda request: request.backup_id),
    search=lambda request, _answer: Search((task_pb2.TASK_TYPE_DELETE,), (request.backup_id,)),
    answer=lambda _request, _tasks: {},
)


def _synchronising(
    request: backup_pb2.SyncBackupsRequest, answer: backup_pb2.SyncBackupsResponse | None
) -> Search:
    named = ids(*(each.task_id for each in answer.sync)) if answer else ()
    return Search(
        (task_pb2.TASK_TYPE_SYNC,),
        tuple(sorted({each.resource_id for each in request.sync})),
        named=named,
    )


def _synchronised(request: backup_pb2.SyncBackupsRequest, tasks: Sequence[Task]) -> Fields:
    """A task names the resource only: of several backups of one, nobody can tell whose it is."""
    working = {subject: task.id for task in tasks for subject in subjects_of(task)}
    alone = Counter(each.resource_id for each in request.sync)
    return {
        "sync": [
            {
                "backup_id": each.backup_id,
                "task_id": (
                    working.get(each.resource_id, "") if alone[each.resource_id] == 1 else ""
                ),
            }
            for each in request.sync
        ]
    }


SYNC_BACKUPS: Final = Traits[backup_pb2.SyncBackupsRequest, backup_pb2.SyncBackupsResponse](
    rpc="BackupService/SyncBackups",
    refused=backup_state.synchronisation_refused,
    search=_synchronising,
    answer=_synchronised,
)
