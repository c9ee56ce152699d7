"""What keeps CBR from changing a policy, or where it works; and what such a change takes away."""

from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import policy_pb2, types_pb2, vault_pb2

from gateway.operations.destination_state import destination_refused
from gateway.operations.reads import POLICY
from gateway.operations.vault_state import REPLICABLE, unusable, vault_of
from gateway.upstream.look import Look, Refusal, refusal

_MAX_POLICIES: Final = 32
"""Of each type, in one account, so that a project has no more. Source: constraints page of the
vendor's manual.
"""


async def _policy(look: Look, policy_id: str) -> policy_pb2.Policy:
    return (await look.answer(POLICY.request(policy_id), POLICY.response)).policy


async def _of_vault(look: Look, vault_id: str) -> list[policy_pb2.Policy]:
    return await look.rows(policy_pb2.ListPoliciesRequest(vault_id=vault_id), policy_pb2.Policy)


async def create_refused(request: policy_pb2.CreatePolicyRequest, look: Look) -> Refusal | None:
    """CreatePolicy."""
    if lacking := lacking_destination(
        request.policy.operation_type, request.policy.operation_definition
    ):
        return lacking
    listed = policy_pb2.ListPoliciesRequest(operation_type=request.policy.operation_type)
    there = await look.rows(listed, policy_pb2.Policy)
    return refusal(6001) if len(there) >= _MAX_POLICIES else None


def lacking_destination(
    kind: int, definition: types_pb2.PolicyOperationDefinition
) -> Refusal | None:
    """A replication policy says whereto."""
    if kind != types_pb2.POLICY_OPERATION_TYPE_REPLICATION:
        return None
    for name in ("destination_region", "destination_project_id"):
        if not getattr(definition, name):
            return refusal(9900, name)
    return None


async def update_refused(request: policy_pb2.UpdatePolicyRequest, look: Look) -> Refusal | None:
    """UpdatePolicy."""
    policy = await _policy(look, request.policy_id)
    region = request.policy.operation_definition.destination_region
    moves = region and region != policy.operation_definition.destination_region
    return refusal(6003) if moves and policy.associated_vaults else None


async def association_refused(
    request: vault_pb2.AssociateVaultPolicyRequest, look: Look
) -> Refusal | None:
    """AssociateVaultPolicy."""
    vault = await vault_of(look, request.vault_id)
    billing = vault.billing
    if refused := unusable(vault):
        return refused
    if billing.protect_type == types_pb2.PROTECT_TYPE_REPLICATION:
        return refusal(6127)
    for policy_id in _wanted(request):
        policy = await _policy(look, policy_id)
        replicates = policy.operation_type == types_pb2.POLICY_OPERATION_TYPE_REPLICATION
        if replicates and billing.object_type not in REPLICABLE:
            return refusal(6122)
        if replicates != bool(request.destination_vault_id):
            return refusal(9900, "destination_vault_id")
        if replicates and (refused := await _destination_refused(policy, request, look)):
            return refused
    return None


async def _destination_refused(
    policy: policy_pb2.Policy, request: vault_pb2.AssociateVaultPolicyRequest, look: Look
) -> Refusal | None:
    there = policy.operation_definition
    if there.cross_account_urn or not there.destination_region:
        return None
    return await destination_refused(
        look, there.destination_region, there.destination_project_id, request.destination_vault_id
    )


async def replaced(
    request: vault_pb2.AssociateVaultPolicyRequest, look: Look
) -> Sequence[policy_pb2.Policy]:
    """Policies that work on the vault, of the type of one that is to work on it: those stop."""
    wanted = _wanted(request)
    kinds = {(await _policy(look, policy_id)).operation_type for policy_id in wanted}
    return [
        each
        for each in await _of_vault(look, request.vault_id)
        if each.id not in wanted and each.operation_type in kinds
    ]


def _wanted(request: vault_pb2.AssociateVaultPolicyRequest) -> list[str]:
    return list(request.add_policy_ids) or [request.policy_id]


async def dissociation_refused(
    request: vault_pb2.DissociateVaultPolicyRequest, look: Look
) -> Refusal | None:
    """DissociateVaultPolicy."""
    there = {each.id for each in await _of_vault(look, request.vault_id)}
    return None if request.policy_id in there else refusal(6002)
