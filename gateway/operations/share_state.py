"""What keeps CBR from sharing a backup, or from ending that, as it and its shares show it."""

from typing import Final

from cbrgateway.v1 import backup_pb2, backup_share_pb2, types_pb2

from gateway.operations.backup_reads import SERVER, backup_of, is_available
from gateway.operations.vault_state import vault_of
from gateway.upstream.look import Look, Refusal, refusal

_MAX_SHARES: Final = 10


async def members_of(look: Look, backup_id: str) -> list[backup_share_pb2.Member]:
    """All shares of a backup."""
    listed = backup_share_pb2.ListBackupMembersRequest(backup_id=backup_id)
    return await look.rows(listed, backup_share_pb2.Member)


def _unshareable(backup: backup_pb2.Backup) -> Refusal | None:
    if backup.resource_type != SERVER:
        return refusal(6700)
    if not is_available(backup):
        return refusal(6702)
    if any(child.extend_info.encrypted for child in backup.children):
        return refusal(6709)
    return None


async def sharing_refused(
    request: backup_share_pb2.AddBackupMembersRequest, look: Look
) -> Refusal | None:
    """AddBackupMembers."""
    backup = await backup_of(look, request.backup_id)
    if refused := _unshareable(backup):
        return refused
    vault = await vault_of(look, backup.vault_id)
    if vault.billing.status != types_pb2.VAULT_STATUS_AVAILABLE:
        return refusal(6712)
    if look.project_id in request.project_ids:
        return refusal(6704)
    there = await members_of(look, request.backup_id)
    if {each.destination_project_id for each in there}.intersection(request.project_ids):
        return refusal(6703)
    many = len(there) + len(request.project_ids) + len(request.domains) > _MAX_SHARES
    return refusal(6701) if many else None


async def accepting_refused(
    request: backup_share_pb2.UpdateBackupMemberRequest, look: Look
) -> Refusal | None:
    """UpdateBackupMember."""
    if request.member_id != look.project_id or request.status == types_pb2.MEMBER_STATUS_PENDING:
        return refusal(6706)
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
