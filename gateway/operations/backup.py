"""BackupService."""

from typing import Final

from cbrgateway.v1 import backup_pb2

from gateway.errors import field_invalid
from gateway.operations.growth import one
from gateway.upstream.amounts import Metric
from gateway.upstream.traits import ObjectRead, Traits


def _check_private(request: backup_pb2.ListBackupsRequest, _enterprise_project: str) -> None:
    if request.own_type not in {backup_pb2.BACKUP_OWN_TYPE_UNSPECIFIED, backup_pb2.BACKUP_OWN_TYPE_PRIVATE}:
        why = "backups are shared with the whole project, which is not this tenant's alone"
        raise field_invalid("own_type", f"must be left out: {why}", "owner")


LIST_BACKUPS: Final = Traits[backup_pb2.ListBackupsRequest, backup_pb2.ListBackupsResponse](
    rpc="BackupService/ListBackups",
    check_owner=_check_private,
)

RESTORE_BACKUP: Final = Traits[backup_pb2.RestoreBackupRequest, backup_pb2.RestoreBackupResponse](
    rpc="BackupService/RestoreBackup",
    heavy=True,
    slots=(Metric.CONCURRENT_RESTORES,),
)

REPLICATE_BACKUP: Final = Traits[backup_pb2.ReplicateBackupRequest, backup_pb2.ReplicateBackupResponse](
    rpc="BackupService/ReplicateBackup",
    heavy=True,
    deltas=one(Metric.REPLICATIONS_PER_DAY),
)

DELETE_BACKUP: Final = Traits[backup_pb2.DeleteBackupRequest, backup_pb2.DeleteBackupResponse](
    rpc="BackupService/DeleteBackup",
    gone=ObjectRead("BackupService/GetBackup", "backup_id", lambda request: request.backup_id),
)
