"""What keeps CBR from making a vault, as its resources and its policy show it."""

from cbrgateway.v1 import types_pb2, vault_pb2

from gateway.operations.binding_state import unbindable
from gateway.operations.reads import POLICY
from gateway.upstream.look import Look, Refusal, refusal


async def creation_refused(
    request: vault_pb2.CreateVaultRequest | vault_pb2.OrderVaultRequest, look: Look
) -> Refusal | None:
    """CreateVault and OrderVault."""
    vault = request.vault
    if vault.auto_expand and vault.billing.charging_mode == types_pb2.CHARGING_MODE_PRE_PAID:
        return refusal(9900, "auto_expand")
    refused = await unbindable(vault.resources, vault.billing, look)
    if refused is not None or not vault.backup_policy_id:
        return refused
    return await _policy_refused(vault, look)


async def _policy_refused(
    vault: vault_pb2.VaultSpec | vault_pb2.PrePaidVaultSpec, look: Look
) -> Refusal | None:
    if vault.billing.protect_type == types_pb2.PROTECT_TYPE_REPLICATION:
        return refusal(6127)
    policy = (await look.answer(POLICY.request(vault.backup_policy_id), POLICY.response)).policy
    if policy.operation_type == types_pb2.POLICY_OPERATION_TYPE_REPLICATION:
        # It wants a destination, which nobody can name here.
        return refusal(9900, "backup_policy_id")
    return None
