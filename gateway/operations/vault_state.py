"""What keeps CBR from changing a vault, as the vault shows it."""

from typing import Final

from cbrgateway.v1 import order_pb2, types_pb2, vault_pb2

from gateway.operations.reads import VAULT
from gateway.upstream.look import Look, Refusal, refusal

REPLICABLE: Final = frozenset({types_pb2.OBJECT_TYPE_SERVER, types_pb2.OBJECT_TYPE_TURBO})
"""What replicas can be made of."""
_UNUSABLE: Final = frozenset(
    {types_pb2.VAULT_STATUS_FROZEN, types_pb2.VAULT_STATUS_DELETING, types_pb2.VAULT_STATUS_ERROR}
)
"""In these a vault takes no change of itself, its resources or its policies."""
_LOCK_HOLDS: Final = refusal(9900, "locked")


async def vault_of(look: Look, vault_id: str) -> types_pb2.Vault:
    """The vault as it is."""
    return (await look.answer(VAULT.request(vault_id), VAULT.response)).vault


def is_unusable(vault: types_pb2.Vault) -> bool:
    """Whether its state lets it take no change."""
    return vault.billing.status in _UNUSABLE


def unusable(vault: types_pb2.Vault) -> Refusal | None:
    return refusal(6112, about=vault.id) if is_unusable(vault) else None


def _pre_paid(vault: types_pb2.Vault) -> bool:
    return vault.billing.charging_mode == types_pb2.CHARGING_MODE_PRE_PAID


def _below_use(vault: types_pb2.Vault, size_gib: int) -> bool:
    return size_gib * 1024 < vault.billing.used_mib


async def update_refused(request: vault_pb2.UpdateVaultRequest, look: Look) -> Refusal | None:
    """UpdateVault."""
    vault, patch = await vault_of(look, request.vault_id), request.vault
    if refused := unusable(vault):
        return refused
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
    if vault.billing.status == types_pb2.VAULT_STATUS_DELETING:
        return refusal(6203)
    filled = vault.billing.used_mib or any(each.backup_count for each in vault.resources)
    return refusal(6111) if vault.locked and filled else None


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
    product = request.product_info
    if not _pre_paid(vault):
        return refusal(6110)
    if vault.billing.spec_code not in {"", product.resource_spec_code}:
        return refusal(9900, "resource_spec_code")
    return refusal(6114, "resource_size") if _below_use(vault, product.resource_size_gib) else None
