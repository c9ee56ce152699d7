"""PolicyService."""

from typing import Final

from cbrgateway.v1 import policy_pb2

from gateway.operations.growth import one
from gateway.upstream.amounts import Metric
from gateway.upstream.traits import ObjectRead, Traits

CREATE_POLICY: Final = Traits[policy_pb2.CreatePolicyRequest, policy_pb2.CreatePolicyResponse](
    rpc="PolicyService/CreatePolicy",
    deltas=one(Metric.POLICIES),
    created_id=lambda response: response.policy.id,
)

DELETE_POLICY: Final = Traits[policy_pb2.DeletePolicyRequest, policy_pb2.DeletePolicyResponse](
    rpc="PolicyService/DeletePolicy",
    deltas=one(Metric.POLICIES, -1),
    gone=ObjectRead("PolicyService/GetPolicy", "policy_id", lambda request: request.policy_id),
)
