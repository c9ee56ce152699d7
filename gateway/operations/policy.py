"""PolicyService."""

from typing import Final

from cbrgateway.v1 import backup_pb2, policy_pb2, types_pb2, vault_pb2

from gateway.errors import field_invalid
from gateway.operations import policy_state, retention_state
from gateway.operations.growth import one
from gateway.operations.reads import POLICY
from gateway.upstream.amounts import Metric
from gateway.upstream.lookup import POLICY_MARK
from gateway.upstream.losses import Guard, Losing
from gateway.upstream.traits import Creation, ObjectRead, Traits


def _check_name(
    request: policy_pb2.CreatePolicyRequest | policy_pb2.UpdatePolicyRequest,
    enterprise_project: str,
) -> None:
    mark = POLICY_MARK.format(enterprise_project)
    if request.policy.name and not request.policy.name.startswith(mark):
        why = "since the project is shared and only its name tells whose a policy is"
        raise field_invalid("policy.name", f"must begin with {mark}, {why}", "owner")


_MADE: Final = Creation[policy_pb2.Policy](
    row=policy_pb2.Policy,
    listed=policy_pb2.ListPoliciesRequest,
    member="policy",
    made=lambda policy: policy.trigger.properties.start_time,
    response=lambda policy: {"policy": policy},
)

CREATE_POLICY: Final = Traits[policy_pb2.CreatePolicyRequest, policy_pb2.CreatePolicyResponse](
    rpc="PolicyService/CreatePolicy",
    refused=policy_state.create_refused,
    deltas=one(Metric.POLICIES),
    created_id=lambda response: response.policy.id,
    creates=_MADE,
    check_owner=_check_name,
)

UPDATE_POLICY: Final = Traits[policy_pb2.UpdatePolicyRequest, policy_pb2.UpdatePolicyResponse](
    rpc="PolicyService/UpdatePolicy",
    refused=policy_state.update_refused,
    losing=Losing[policy_pb2.UpdatePolicyRequest, backup_pb2.Backup](
        guard=Guard.SHORTEN_RETENTION,
        kind="backup",
        lost=retention_state.no_longer_kept,
        is_guess=retention_state.is_guess,
        made=lambda backup: backup.create_time,
    ),
    check_owner=_check_name,
)


def _theirs(row: policy_pb2.Policy, enterprise_project: str) -> bool:
    return row.name.startswith(POLICY_MARK.format(enterprise_project))


LIST_POLICIES: Final = Traits[policy_pb2.ListPoliciesRequest, policy_pb2.ListPoliciesResponse](
    rpc="PolicyService/ListPolicies",
    sieve=_theirs,
)

DELETE_POLICY: Final = Traits[policy_pb2.DeletePolicyRequest, policy_pb2.DeletePolicyResponse](
    rpc="PolicyService/DeletePolicy",
    deltas=one(Metric.POLICIES, -1),
    losing=Losing[policy_pb2.DeletePolicyRequest, types_pb2.Vault](
        guard=Guard.DELETE_POLICY,
        kind="vault",
        lost=lambda request, look: look.rows(
            vault_pb2.ListVaultsRequest(policy_id=request.policy_id), types_pb2.Vault
        ),
    ),
    gone=ObjectRead(POLICY, lambda request: request.policy_id),
)
