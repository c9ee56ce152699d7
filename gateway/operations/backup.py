"""BackupService."""

from typing import Final

from cbrgateway.v1 import backup_pb2

from gateway.operations.growth import one
from gateway.upstream.amounts import Metric
from gateway.upstream.traits import ObjectRead, Traits

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
