"""AgentService."""

from typing import Final

from cbrgateway.v1 import agent_pb2

from gateway.upstream.traits import ObjectRead, Traits

UNREGISTER_AGENT: Final = Traits[agent_pb2.UnregisterAgentRequest, agent_pb2.UnregisterAgentResponse](
    rpc="AgentService/UnregisterAgent",
    gone=ObjectRead("AgentService/GetAgent", "agent_id", lambda request: request.agent_id),
)
