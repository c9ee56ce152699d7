"""BackupService."""

from typing import Final

from cbrgateway.v1 import backup_pb2, task_pb2

from gateway.errors import field_invalid
from gateway.operations.growth import one
from gateway.operations.searches import REPLICATIONS, ids
from gateway.upstream.amounts import Metric
from gateway.upstream.task_search import Search
from gateway.upstream.traits import ObjectRead, Traits


def _check_private(request: backup_pb2.ListBackupsRequest, _enterprise_project: str) -> None:
    if request.own_type not in {backup_pb2.BACKUP_OWN_TYPE_UNSPECIFIED, backup_pb2.BACKUP_OWN_TYPE_PRIVATE}:
        why = "backups are shared with the whole project, which is not this tenant's alone"
        raise field_invalid("own_type", f"must be left out: {why}", "owner")


LIST_BACKUPS: Final = Traits[backup_pb2.ListBackupsRequest, backup_pb2.ListBackupsResponse](
    rpc="BackupService/ListBackups",
    check_owner=_check_private,
)


def _restoring(request: backup_pb2.RestoreBackupRequest, answer: backup_pb2.RestoreBackupResponse | None) -> Search:
    target = request.restore.server_id or request.restore.volume_id or request.restore.resource_id
    return Search((task_pb2.TASK_TYPE_RESTORE,), (request.backup_id,), named=ids(answer and answer.task_id), target_id=target)


RESTORE_BACKUP: Final = Traits[backup_pb2.RestoreBackupRequest, backup_pb2.RestoreBackupResponse](
    rpc="BackupService/RestoreBackup",
    heavy=True,
    slots=(Metric.CONCURRENT_RESTORES,),
    search=_restoring,
    answer=lambda _request, tasks: {"task_id": tasks[0].id},
)

REPLICATE_BACKUP: Final = Traits[backup_pb2.ReplicateBackupRequest, backup_pb2.ReplicateBackupResponse](
    rpc="BackupService/ReplicateBackup",
    heavy=True,
    deltas=one(Metric.REPLICATIONS_PER_DAY),
    search=lambda request, _answer: Search(REPLICATIONS, (request.backup_id,), destination_project_id=request.replicate.destination_project_id),
)

DELETE_BACKUP: Final = Traits[backup_pb2.DeleteBackupRequest, backup_pb2.DeleteBackupResponse](
    rpc="BackupService/DeleteBackup",
    gone=ObjectRead("BackupService/GetBackup", "backup_id", lambda request: request.backup_id),
    search=lambda request, _answer: Search((task_pb2.TASK_TYPE_DELETE,), (request.backup_id,)),
    answer=lambda _request, _tasks: {},
)


def _synchronising(request: backup_pb2.SyncBackupsRequest, answer: backup_pb2.SyncBackupsResponse | None) -> Search:
    named = ids(*(each.task_id for each in answer.sync)) if answer else ()
    return Search((task_pb2.TASK_TYPE_SYNC,), tuple(sorted({each.resource_id for each in request.sync})), named=named)


SYNC_BACKUPS: Final = Traits[backup_pb2.SyncBackupsRequest, backup_pb2.SyncBackupsResponse](
    rpc="BackupService/SyncBackups",
    search=_synchronising,
)
