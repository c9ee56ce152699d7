"""VaultService: the policies that work on a vault."""

from typing import Final

from cbrgateway.v1 import policy_pb2, vault_pb2

from gateway.operations import policy_state
from gateway.upstream.losses import Losing
from gateway.upstream.read_back import answer_not_shown
from gateway.upstream.traits import Fields, ReadBack, Traits


def _associated(
    change: ReadBack[vault_pb2.AssociateVaultPolicyRequest, policy_pb2.ListPoliciesResponse],
) -> Fields | None:
    """Which of several policies CBR would have named is not known."""
    request = change.request
    bound = {
        p.id: {
            pair.destination_vault_id
            for pair in p.associated_vaults
            if pair.vault_id == request.vault_id
        }
        for p in change.observed.policies
    }
    wanted = set(request.add_policy_ids) or {request.policy_id}
    destination = request.destination_vault_id
    if not all(
        policy in bound and (not destination or bound[policy] == {destination}) for policy in wanted
    ):
        return None
    if not request.policy_id:
        answer_not_shown()
    return {
        "associate_policy": {
            "vault_id": request.vault_id,
            "policy_id": request.policy_id,
            "destination_vault_id": destination,
        }
    }


ASSOCIATE_VAULT_POLICY: Final = Traits[
    vault_pb2.AssociateVaultPolicyRequest, vault_pb2.AssociateVaultPolicyResponse
](
    rpc="VaultService/AssociateVaultPolicy",
    refused=policy_state.association_refused,
    losing=Losing[vault_pb2.AssociateVaultPolicyRequest, policy_pb2.Policy](
        kind="policy", lost=policy_state.replaced
    ),
    read_back=_associated,
)


def _dissociated(
    change: ReadBack[vault_pb2.DissociateVaultPolicyRequest, policy_pb2.ListPoliciesResponse],
) -> Fields | None:
    request = change.request
    if request.policy_id in {policy.id for policy in change.observed.policies}:
        return None
    return {"dissociate_policy": {"vault_id": request.vault_id, "policy_id": request.policy_id}}


DISSOCIATE_VAULT_POLICY: Final = Traits[
    vault_pb2.DissociateVaultPolicyRequest, vault_pb2.DissociateVaultPolicyResponse
](
    rpc="VaultService/DissociateVaultPolicy",
    refused=policy_state.dissociation_refused,
    read_back=_dissociated,
)
