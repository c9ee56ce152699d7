"""What keeps CBR from changing a backup, as the backup, its vault and what it goes to show it."""

from typing import Final

from cbrgateway.v1 import backup_pb2, protectability_pb2, types_pb2, vault_pb2
from google.rpc import code_pb2

from gateway.errors import GatewayError
from gateway.operations.backup_reads import SERVER, backup_of, is_available
from gateway.operations.binding_state import protectables
from gateway.operations.destination_state import destination_refused
from gateway.operations.reads import BACKUP
from gateway.operations.share_state import members_of
from gateway.operations.vault_state import vault_of
from gateway.upstream.look import Look, Refusal, refusal
from gateway.upstream.lookup import PROTECTABLE_TYPES

_DISK: Final = "OS::Cinder::Volume"
_TURBO: Final = "OS::Sfs::Turbo"
_GOING: Final = frozenset(
    {backup_pb2.BACKUP_STATUS_DELETING, backup_pb2.BACKUP_STATUS_WAITING_DELETE}
)
_DELETABLE: Final = frozenset({backup_pb2.BACKUP_STATUS_AVAILABLE, backup_pb2.BACKUP_STATUS_ERROR})
_UNMADE: Final = frozenset(
    {backup_pb2.REPLICATION_STATUS_FAILED, backup_pb2.REPLICATION_STATUS_SKIPPED}
)
_TARGETS: Final = {SERVER: "server_id", _DISK: "volume_id"}
"""The fields that targets of restores are named in, by type; others are in `resource_id`."""


def _undeletable(backup: backup_pb2.Backup) -> Refusal | None:
    if backup.parent_id:
        return refusal(6201)
    if backup.status in _GOING:
        return refusal(6203)
    if backup.status not in _DELETABLE:
        return refusal(6216)
    if backup.extend_info.os_images_data:
        return refusal(6204)
    return None


async def delete_refused(request: backup_pb2.DeleteBackupRequest, look: Look) -> Refusal | None:
    """DeleteBackup."""
    backup = await backup_of(look, request.backup_id)
    if refused := _undeletable(backup):
        return refused
    vault = await vault_of(look, backup.vault_id)
    if vault.billing.status == types_pb2.VAULT_STATUS_DELETING:
        return refusal(6201)
    if vault.locked and backup.extend_info.auto_trigger:
        return refusal(6220)
    shares = await members_of(look, backup.id) if backup.resource_type == SERVER else ()
    return refusal(6710) if any(each.image_id for each in shares) else None


async def restore_refused(request: backup_pb2.RestoreBackupRequest, look: Look) -> Refusal | None:
    """RestoreBackup."""
    backup = await backup_of(look, request.backup_id)
    if backup.image_type == backup_pb2.IMAGE_TYPE_REPLICATION or not is_available(backup):
        return refusal(2005)
    vault = await vault_of(look, backup.vault_id)
    if vault.billing.status != types_pb2.VAULT_STATUS_AVAILABLE:
        return refusal(6202)
    name = _TARGETS.get(backup.resource_type, "resource_id")
    target_id = getattr(request.restore, name)
    if not target_id:
        return refusal(9900, name)
    disks = {child.id for child in backup.children}
    if any(each.backup_id not in disks for each in request.restore.mappings):
        return refusal(9900, "mappings")
    if backup.resource_type not in PROTECTABLE_TYPES:
        return None
    (target,) = await protectables(look, [(backup.resource_type, target_id)])
    return _does_not_fit(backup, target, request.restore)


def _does_not_fit(
    backup: backup_pb2.Backup,
    target: protectability_pb2.Protectable,
    wish: backup_pb2.RestoreSpec,
) -> Refusal | None:
    """Whether a disk that is to be written is not there or too small, or a system disk would get
    other data.
    """
    parts = {child.id: child for child in backup.children}
    disks = {disk.id: disk for disk in target.children}
    for mapping in wish.mappings:
        part, disk = parts[mapping.backup_id], disks.get(mapping.volume_id)
        if disk is None:
            return refusal(7000, about=mapping.volume_id)
        if disk.size_gib < part.resource_size_gib:
            return refusal(2001, about=disk.id)
        boots = dict(disk.detail).get("bootable") == "true"
        if boots and part.extend_info.HasField("bootable") and not part.extend_info.bootable:
            return refusal(2013, about=disk.id)
    small = backup.resource_type != SERVER and target.size_gib < backup.resource_size_gib
    return refusal(2001, about=target.id) if small else None


async def replication_refused(
    request: backup_pb2.ReplicateBackupRequest, look: Look
) -> Refusal | None:
    """ReplicateBackup."""
    backup = await backup_of(look, request.backup_id)
    if backup.image_type == backup_pb2.IMAGE_TYPE_REPLICATION:
        return refusal(1002)
    bootable = any(child.extend_info.bootable for child in backup.children)
    if backup.resource_type != _TURBO and not bootable:
        return refusal(1003)
    if not is_available(backup):
        return refusal(6216)
    there = any(
        record.destination_region == request.replicate.destination_region
        and record.status not in _UNMADE
        for record in backup.replication_records
    )
    if there:
        return refusal(1009)
    asked = request.replicate
    if asked.cross_account_urn:
        return None
    return await destination_refused(
        look, asked.destination_region, asked.destination_project_id, asked.destination_vault_id
    )


async def synchronisation_refused(
    request: backup_pb2.SyncBackupsRequest, look: Look
) -> Refusal | None:
    """SyncBackups."""
    hybrid = vault_pb2.ListVaultsRequest(cloud_type=types_pb2.CLOUD_TYPE_HYBRID)
    if not await look.rows(hybrid, types_pb2.Vault):
        return refusal(7300)
    for each in request.sync:
        if await _exists(look, each.backup_id):
            return refusal(9900, "backup_id", each.backup_id)
    return None


async def _exists(look: Look, backup_id: str) -> bool:
    try:
        await look.answer(BACKUP.request(backup_id), BACKUP.response)
    except GatewayError as error:
        if error.code in {code_pb2.NOT_FOUND, code_pb2.INVALID_ARGUMENT}:
            return False
        raise
    return True
