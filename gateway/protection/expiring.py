"""Which backups CBR will delete soon. Pure."""

from typing import Final

from cbrgateway.v1 import backup_pb2, protection_pb2

from gateway.protection.standing import Standing, is_good, seconds

_NOT_KNOWN: Final = frozenset(
    {backup_pb2.BACKUP_STATUS_UNSPECIFIED, backup_pb2.BACKUP_STATUS_OTHER}
)


def expiring(
    standing: Standing, until: float, *, last_only: bool
) -> list[protection_pb2.ExpiringBackup]:
    """Good ones, and those whose state is not known, that end up to a time, in seconds since
    1970.
    """
    last = {backups[-1].id for backups in standing.backups.values()}
    return [
        _row(standing, backup, last=backup.id in last)
        for backup in standing.view.rows("backups")
        if (is_good(backup) or backup.status in _NOT_KNOWN)
        and backup.HasField("expire_time")
        and seconds(backup.expire_time) <= until
        and (backup.id in last or not last_only)
    ]


def _row(
    standing: Standing, backup: backup_pb2.Backup, *, last: bool
) -> protection_pb2.ExpiringBackup:
    row = protection_pb2.ExpiringBackup(
        project=standing.view.ref.project,
        region=standing.view.ref.region,
        backup_id=backup.id,
        name=backup.name,
        resource_id=backup.resource_id,
        resource_name=backup.resource_name,
        vault_id=backup.vault_id,
        expire_time=backup.expire_time,
        last=last,
    )
    if backup.HasField("protect_time"):
        row.protect_time.CopyFrom(backup.protect_time)
    return row
