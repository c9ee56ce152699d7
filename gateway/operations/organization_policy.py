"""OrganizationPolicyService."""

from typing import Final

from cbrgateway.v1 import organization_policy_pb2 as pb

from gateway.operations.policy_state import lacking_destination
from gateway.operations.reads import ORGANIZATION_POLICY
from gateway.upstream.look import Look, Refusal
from gateway.upstream.traits import ObjectRead, Traits


async def _create_refused(
    request: pb.CreateOrganizationPolicyRequest, _look: Look
) -> Refusal | None:
    policy = request.policy
    return lacking_destination(policy.operation_type, policy.policy_operation_definition)


CREATE_ORGANIZATION_POLICY: Final = Traits[
    pb.CreateOrganizationPolicyRequest, pb.CreateOrganizationPolicyResponse
](
    rpc="OrganizationPolicyService/CreateOrganizationPolicy",
    refused=_create_refused,
    created_id=lambda response: response.policy.id,
)

DELETE_ORGANIZATION_POLICY: Final = Traits[
    pb.DeleteOrganizationPolicyRequest, pb.DeleteOrganizationPolicyResponse
](
    rpc="OrganizationPolicyService/DeleteOrganizationPolicy",
    gone=ObjectRead(
        ORGANIZATION_POLICY,
        lambda request: request.organization_policy_id,
    ),
)
