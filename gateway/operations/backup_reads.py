"""Backups, as changes of several kinds look at them."""

from typing import Final

from cbrgateway.v1 import backup_pb2

from gateway.operations.reads import BACKUP
from gateway.upstream.look import Look

SERVER: Final = "OS::Nova::Server"


async def backup_of(look: Look, backup_id: str) -> backup_pb2.Backup:
    """The backup as it is."""
    return (await look.answer(BACKUP.request(backup_id), BACKUP.response)).backup


async def backups_in(look: Look, vault_id: str) -> list[backup_pb2.Backup]:
    """All backups of a vault."""
    return await look.rows(backup_pb2.ListBackupsRequest(vault_id=vault_id), backup_pb2.Backup)


def is_available(backup: backup_pb2.Backup) -> bool:
    """Whether it is complete, and nothing is done with it now."""
    return backup.status == backup_pb2.BACKUP_STATUS_AVAILABLE
