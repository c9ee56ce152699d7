"""AgentService."""

from collections.abc import Sequence
from typing import Final

from cbrgateway.v1 import agent_pb2

from gateway.operations.reads import AGENT
from gateway.upstream.read_back import answer_not_shown, cannot_tell
from gateway.upstream.shown import shows
from gateway.upstream.traits import Fields, ObjectRead, Proof, Proven, ReadBack, Traits


def _registered(
    seen: Sequence[ReadBack[agent_pb2.RegisterAgentRequest, agent_pb2.GetAgentResponse]],
) -> Proven | None:
    (change,) = seen
    agent = change.observed.agent
    return (
        Proven({"agent": agent})
        if shows(change.sent["agent"], change.read["agent"], agent.DESCRIPTOR)
        else None
    )


REGISTER_AGENT: Final = Traits[agent_pb2.RegisterAgentRequest, agent_pb2.RegisterAgentResponse](
    rpc="AgentService/RegisterAgent",
    proof=Proof(
        read=AGENT,
        ids=lambda request: [request.agent.agent_id],
        proven=_registered,
    ),
)


def _paths(agent: agent_pb2.Agent) -> set[str]:
    return {
        path.dir_path for path in agent.paths if path.status != agent_pb2.AGENT_PATH_STATUS_REMOVE
    }


def _paths_added(
    change: ReadBack[agent_pb2.AddAgentPathsRequest, agent_pb2.GetAgentResponse],
) -> Fields | None:
    """The response tells new paths from those that were there before; a read cannot, nor does it
    show exclusions as they were sent.
    """
    if not set(change.request.add_paths) <= _paths(change.observed.agent):
        return None
    if change.request.exclude_paths:
        cannot_tell()
    answer_not_shown()


ADD_AGENT_PATHS: Final = Traits[agent_pb2.AddAgentPathsRequest, agent_pb2.AddAgentPathsResponse](
    rpc="AgentService/AddAgentPaths",
    read_back=_paths_added,
)


def _paths_removed(
    change: ReadBack[agent_pb2.RemoveAgentPathsRequest, agent_pb2.GetAgentResponse],
) -> Fields | None:
    """The response tells removed paths from those that were never there; a read cannot."""
    if set(change.request.remove_paths) & _paths(change.observed.agent):
        return None
    answer_not_shown()


REMOVE_AGENT_PATHS: Final = Traits[
    agent_pb2.RemoveAgentPathsRequest, agent_pb2.RemoveAgentPathsResponse
](
    rpc="AgentService/RemoveAgentPaths",
    read_back=_paths_removed,
)

UNREGISTER_AGENT: Final = Traits[
    agent_pb2.UnregisterAgentRequest, agent_pb2.UnregisterAgentResponse
](
    rpc="AgentService/UnregisterAgent",
    gone=ObjectRead(AGENT, lambda request: request.agent_id),
)
