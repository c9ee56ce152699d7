"""OrganizationPolicyService."""

from typing import Final

from cbrgateway.v1 import organization_policy_pb2 as pb

from gateway.operations.reads import ORGANIZATION_POLICY
from gateway.upstream.traits import ObjectRead, Traits

CREATE_ORGANIZATION_POLICY: Final = Traits[
    pb.CreateOrganizationPolicyRequest, pb.CreateOrganizationPolicyResponse
](
    rpc="OrganizationPolicyService/CreateOrganizationPolicy",
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
