"""What keeps CBR from changing a vault, as the vault shows it."""

from collections.abc import Collection, Iterable
from typing import Final

from cbrgateway.v1 import backup_pb2, checkpoint_pb2, order_pb2, types_pb2, vault_pb2

from gateway.operations.reads import VAULT
from gateway.upstream.look import Look, Refusal, refusal

_MAX_RESOURCES: Final = 256
_IDS_AT_ONCE: Final = 50
"""In the query of a list."""
REPLICABLE: Final = frozenset({types_pb2.OBJECT_TYPE_SERVER, types_pb2.OBJECT_TYPE_TURBO})
"""What replicas can be made of."""
_LOCK_HOLDS: Final = refusal(9900, "locked")


async def vault_of(look: Look, vault_id: str) -> types_pb2.Vault:
    """The vault as it is."""
    return (await look.answer(VAULT.request(vault_id), VAULT.response)).vault


async def backups_in(look: Look, vault_id: str) -> list[backup_pb2.Backup]:
    """All backups of a vault."""
    return await look.rows(backup_pb2.ListBackupsRequest(vault_id=vault_id), backup_pb2.Backup)


def _lacking(vault: types_pb2.Vault, ids: Iterable[str]) -> Refusal | None:
    held = {resource.id for resource in vault.resources}
    return None if held.issuperset(ids) else refusal(6135)


def _pre_paid(vault: types_pb2.Vault) -> bool:
    return vault.billing.charging_mode == types_pb2.CHARGING_MODE_PRE_PAID


def _below_use(vault: types_pb2.Vault, size_gib: int) -> bool:
    return size_gib * 1024 < vault.billing.used_mib


async def update_refused(request: vault_pb2.UpdateVaultRequest, look: Look) -> Refusal | None:
    """UpdateVault."""
    vault, patch = await vault_of(look, request.vault_id), request.vault
    if patch.billing.HasField("size_gib"):
        if vault.billing.status == types_pb2.VAULT_STATUS_LOCK:
            return refusal(6123)
        if _pre_paid(vault):
            return refusal(6110)
        if _below_use(vault, patch.billing.size_gib):
            return refusal(6114, "size")
    crash = types_pb2.CONSISTENT_LEVEL_CRASH_CONSISTENT
    app = vault.billing.consistent_level == types_pb2.CONSISTENT_LEVEL_APP_CONSISTENT
    if app and patch.billing.consistent_level == crash:
        return refusal(9900, "consistent_level")
    unlocks = vault.locked and patch.HasField("locked") and not patch.locked
    return _LOCK_HOLDS if unlocks else None


async def delete_refused(request: vault_pb2.DeleteVaultRequest, look: Look) -> Refusal | None:
    """DeleteVault."""
    vault = await vault_of(look, request.vault_id)
    filled = vault.billing.used_mib or any(each.backup_count for each in vault.resources)
    return refusal(6111) if vault.locked and filled else None


async def resources_lacking(
    request: vault_pb2.RemoveVaultResourcesRequest | vault_pb2.SetVaultResourcesRequest, look: Look
) -> Refusal | None:
    """RemoveVaultResources and SetVaultResources."""
    return _lacking(await vault_of(look, request.vault_id), request.resource_ids)


async def migration_refused(
    request: vault_pb2.MigrateVaultResourcesRequest, look: Look
) -> Refusal | None:
    """MigrateVaultResources."""
    if request.vault_id == request.destination_vault_id:
        return refusal(9900, "destination_vault_id")
    vault = await vault_of(look, request.vault_id)
    here, there = vault.billing, (await vault_of(look, request.destination_vault_id)).billing
    if (here.object_type, here.protect_type) != (there.object_type, there.protect_type):
        return refusal(6102)
    return _lacking(vault, request.resource_ids)


async def addition_refused(
    request: vault_pb2.AddVaultResourcesRequest, look: Look
) -> Refusal | None:
    """AddVaultResources."""
    vault = await vault_of(look, request.vault_id)
    if vault.billing.protect_type == types_pb2.PROTECT_TYPE_REPLICATION:
        return refusal(6108)
    held = {resource.id for resource in vault.resources}
    if len(held.union(resource.id for resource in request.resources)) > _MAX_RESOURCES:
        return refusal(6100)
    return await _bound(request.resources, look, vault.id)


async def creation_refused(
    request: vault_pb2.CreateVaultRequest | vault_pb2.OrderVaultRequest, look: Look
) -> Refusal | None:
    """CreateVault and OrderVault."""
    return await _bound(request.vault.resources, look)


async def _bound(
    wanted: Collection[types_pb2.ResourceRef], look: Look, own: str = ""
) -> Refusal | None:
    """Whether a vault has one of them already; in `own` one may get another selection of disks."""
    by_id = {resource.id: resource for resource in wanted}
    ids = list(by_id)
    for start in range(0, len(ids), _IDS_AT_ONCE):
        part = vault_pb2.ListVaultsRequest(resource_ids=ids[start : start + _IDS_AT_ONCE])
        for vault in await look.rows(part, types_pb2.Vault):
            for bound in vault.resources:
                asked = by_id.get(bound.id)
                if asked is not None and (vault.id != own or _same_disks(asked, bound)):
                    return refusal(6103)
    return None


def _same_disks(asked: types_pb2.ResourceRef, bound: types_pb2.VaultResource) -> bool:
    if not asked.HasField("extra_info"):
        return True
    return _disks(asked.extra_info) == _disks(bound.extra_info)


def _disks(selection: types_pb2.DiskSelection) -> tuple[set[str], set[str]]:
    return set(selection.exclude_volumes), {disk.id for disk in selection.include_volumes}


async def charging_refused(
    request: vault_pb2.ChangeVaultChargingModeRequest, look: Look
) -> Refusal | None:
    """ChangeVaultChargingMode."""
    for vault_id in request.vault_ids:
        if _pre_paid(await vault_of(look, vault_id)):
            return refusal(6110)
    return None


async def order_refused(
    request: order_pb2.ChangeOrderRequest | order_pb2.UpdateOrderRequest, look: Look
) -> Refusal | None:
    """ChangeOrder and UpdateOrder."""
    vault = await vault_of(look, request.resource_id)
    if not _pre_paid(vault):
        return refusal(6110)
    return (
        refusal(6114, "resource_size")
        if _below_use(vault, request.product_info.resource_size_gib)
        else None
    )


async def checkpoint_refused(
    request: checkpoint_pb2.CreateCheckpointRequest, look: Look
) -> Refusal | None:
    """CreateCheckpoint."""
    vault = await vault_of(look, request.checkpoint.vault_id)
    if vault.billing.protect_type == types_pb2.PROTECT_TYPE_REPLICATION:
        return refusal(6124)
    parameters = request.checkpoint.parameters
    named = [*parameters.resource_ids, *(each.id for each in parameters.resource_details)]
    if not named and not vault.resources:
        return refusal(1)
    return _lacking(vault, named)


async def vault_replication_refused(
    request: checkpoint_pb2.ReplicateCheckpointRequest, look: Look
) -> Refusal | None:
    """ReplicateCheckpoint."""
    billing = (await vault_of(look, request.replicate.vault_id)).billing
    backs_up = billing.protect_type == types_pb2.PROTECT_TYPE_BACKUP
    return None if backs_up and billing.object_type in REPLICABLE else refusal(6128)


async def synchronisation_refused(
    request: checkpoint_pb2.SyncCheckpointRequest, look: Look
) -> Refusal | None:
    """SyncCheckpoint."""
    vault = await vault_of(look, request.sync.vault_id)
    hybrid = vault.billing.cloud_type == types_pb2.CLOUD_TYPE_HYBRID
    return None if hybrid else refusal(7300)
