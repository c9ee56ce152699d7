"""What keeps CBR from backing up, replicating or synchronising a vault, as it shows."""

from cbrgateway.v1 import backup_pb2, checkpoint_pb2, types_pb2

from gateway.operations.backup_reads import is_available
from gateway.operations.binding_state import lacking, protectables, unknown_disks
from gateway.operations.destination_state import destination_refused
from gateway.operations.vault_state import REPLICABLE, is_unusable, vault_of
from gateway.upstream.look import Look, Refusal, refusal
from gateway.upstream.lookup import PROTECTABLE_TYPES


async def checkpoint_refused(
    request: checkpoint_pb2.CreateCheckpointRequest, look: Look
) -> Refusal | None:
    """CreateCheckpoint."""
    vault = await vault_of(look, request.checkpoint.vault_id)
    if vault.billing.protect_type == types_pb2.PROTECT_TYPE_REPLICATION:
        return refusal(6124)
    if is_unusable(vault):
        return refusal(6113, about=vault.id)
    parameters = request.checkpoint.parameters
    if parameters.auto_trigger and parameters.HasField("retention_duration_days"):
        return refusal(9900, "retention_duration_days")
    named = [*parameters.resource_ids, *(each.id for each in parameters.resource_details)]
    if not named and not vault.resources:
        return refusal(1)
    return lacking(vault, named) or await _unknown_disks(parameters, look)


async def _unknown_disks(
    parameters: checkpoint_pb2.CheckpointParameters, look: Look
) -> Refusal | None:
    chosen = [
        each
        for each in parameters.resource_details
        if each.HasField("extra_info") and each.type in PROTECTABLE_TYPES
    ]
    servers = await protectables(look, [(each.type, each.id) for each in chosen])
    for asked, server in zip(chosen, servers, strict=True):
        if strange := unknown_disks(asked.extra_info, server):
            return refusal(7000, about=strange)
    return None


async def replication_refused(
    request: checkpoint_pb2.ReplicateCheckpointRequest, look: Look
) -> Refusal | None:
    """ReplicateCheckpoint."""
    asked = request.replicate
    billing = (await vault_of(look, asked.vault_id)).billing
    backs_up = billing.protect_type == types_pb2.PROTECT_TYPE_BACKUP
    if not backs_up or billing.object_type not in REPLICABLE:
        return refusal(6128)
    if asked.cross_account_urn:
        return await _nothing_to_replicate(asked, look)
    return await destination_refused(
        look, asked.destination_region, asked.destination_project_id, asked.destination_vault_id
    ) or await _nothing_to_replicate(asked, look)


async def _nothing_to_replicate(
    asked: checkpoint_pb2.CheckpointReplicationSpec, look: Look
) -> Refusal | None:
    listed = backup_pb2.ListBackupsRequest(vault_id=asked.vault_id, show_replication=True)
    for backup in await look.rows(listed, backup_pb2.Backup):
        there = {each.destination_region for each in backup.replication_records}
        if is_available(backup) and asked.destination_region not in there:
            return None
    return refusal(1)


async def synchronisation_refused(
    request: checkpoint_pb2.SyncCheckpointRequest, look: Look
) -> Refusal | None:
    """SyncCheckpoint."""
    vault = await vault_of(look, request.sync.vault_id)
    hybrid = vault.billing.cloud_type == types_pb2.CLOUD_TYPE_HYBRID
    return None if hybrid else refusal(7300)
