"""What keeps CBR from changing a backup, as the backup and its vault show it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cbrgateway.v1 import backup_pb2, backup_share_pb2, types_pb2, vault_pb2

from gateway.operations.reads import BACKUP
from gateway.operations.vault_state import backups_in, vault_of
from gateway.upstream.look import Look, Refusal, refusal

_SERVER: Final = "OS::Nova::Server"
_DISK: Final = "OS::Cinder::Volume"
_TURBO: Final = "OS::Sfs::Turbo"
_GOING: Final = frozenset(
    {backup_pb2.BACKUP_STATUS_DELETING, backup_pb2.BACKUP_STATUS_WAITING_DELETE}
)
_DELETABLE: Final = frozenset({backup_pb2.BACKUP_STATUS_AVAILABLE, backup_pb2.BACKUP_STATUS_ERROR})
_UNMADE: Final = frozenset(
    {backup_pb2.REPLICATION_STATUS_FAILED, backup_pb2.REPLICATION_STATUS_SKIPPED}
)
_MAX_SHARES: Final = 10


async def _backup(look: Look, backup_id: str) -> backup_pb2.Backup:
    return (await look.answer(BACKUP.request(backup_id), BACKUP.response)).backup


def _available(backup: backup_pb2.Backup) -> bool:
    return backup.status == backup_pb2.BACKUP_STATUS_AVAILABLE


async def delete_refused(request: backup_pb2.DeleteBackupRequest, look: Look) -> Refusal | None:
    """DeleteBackup."""
    backup = await _backup(look, request.backup_id)
    if backup.parent_id:
        return refusal(6201)
    if backup.status in _GOING:
        return refusal(6203)
    if backup.status not in _DELETABLE:
        return refusal(6216)
    if backup.extend_info.os_images_data:
        return refusal(6204)
    vault = await vault_of(look, backup.vault_id)
    if vault.billing.status == types_pb2.VAULT_STATUS_DELETING:
        return refusal(6201)
    return refusal(6220) if vault.locked and backup.extend_info.auto_trigger else None


async def restore_refused(request: backup_pb2.RestoreBackupRequest, look: Look) -> Refusal | None:
    """RestoreBackup. Sizes and kinds of what it is restored to are not looked at."""
    backup = await _backup(look, request.backup_id)
    if backup.image_type == backup_pb2.IMAGE_TYPE_REPLICATION or not _available(backup):
        return refusal(2005)
    vault = await vault_of(look, backup.vault_id)
    if vault.billing.status != types_pb2.VAULT_STATUS_AVAILABLE:
        return refusal(6202)
    targets = {_SERVER: "server_id", _DISK: "volume_id"}
    target = targets.get(backup.resource_type, "resource_id")
    if not getattr(request.restore, target):
        return refusal(9900, target)
    disks = {child.id for child in backup.children}
    strange = any(each.backup_id not in disks for each in request.restore.mappings)
    return refusal(9900, "mappings") if strange else None


async def replication_refused(
    request: backup_pb2.ReplicateBackupRequest, look: Look
) -> Refusal | None:
    """ReplicateBackup."""
    backup = await _backup(look, request.backup_id)
    if backup.image_type == backup_pb2.IMAGE_TYPE_REPLICATION:
        return refusal(1002)
    bootable = any(child.extend_info.bootable for child in backup.children)
    if backup.resource_type != _TURBO and not bootable:
        return refusal(1003)
    if not _available(backup):
        return refusal(6216)
    there = any(
        record.destination_region == request.replicate.destination_region
        and record.status not in _UNMADE
        for record in backup.replication_records
    )
    return refusal(1009) if there else None


async def sharing_refused(
    request: backup_share_pb2.AddBackupMembersRequest, look: Look
) -> Refusal | None:
    """AddBackupMembers."""
    backup = await _backup(look, request.backup_id)
    if backup.resource_type != _SERVER:
        return refusal(6700)
    if not _available(backup):
        return refusal(6702)
    if any(child.extend_info.encrypted for child in backup.children):
        return refusal(6709)
    listed = backup_share_pb2.ListBackupMembersRequest(backup_id=request.backup_id)
    there = await look.rows(listed, backup_share_pb2.Member)
    if {each.destination_project_id for each in there}.intersection(request.project_ids):
        return refusal(6703)
    many = len(there) + len(request.project_ids) + len(request.domains) > _MAX_SHARES
    return refusal(6701) if many else None


async def accepting_refused(
    request: backup_share_pb2.UpdateBackupMemberRequest, look: Look
) -> Refusal | None:
    """UpdateBackupMember."""
    if not request.vault_id:
        return None
    billing = (await vault_of(look, request.vault_id)).billing
    takes = (billing.object_type, billing.protect_type) == (
        types_pb2.OBJECT_TYPE_SERVER,
        types_pb2.PROTECT_TYPE_BACKUP,
    )
    return None if takes else refusal(6713)


async def unsharing_refused(
    request: backup_share_pb2.DeleteBackupMemberRequest, look: Look
) -> Refusal | None:
    """DeleteBackupMember."""
    asked = backup_share_pb2.GetBackupMemberRequest(
        backup_id=request.backup_id, member_id=request.member_id
    )
    member = (await look.answer(asked, backup_share_pb2.GetBackupMemberResponse)).member
    return refusal(6710) if member.image_id else None


async def expiring_sooner(
    request: vault_pb2.UpdateBackupExpirationRequest, look: Look
) -> Sequence[backup_pb2.Backup]:
    """Backups of the vault that are kept now, or for longer than until the new day begins."""
    day = request.expiration_date
    try:
        zone = datetime.strptime(request.time_zone.removeprefix("UTC") or "+00:00", "%z").tzinfo
        until = datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
    except ValueError:
        return ()  # CBR refuses a day that there is not.
    return [
        each
        for each in await backups_in(look, request.vault_id)
        if not each.HasField("expire_time") or each.expire_time.ToSeconds() > until
    ]
