"""One look at CBR for the tasks of a change, and at the store for other changes that may have started them."""

from collections.abc import Sequence
from typing import Any, Final

from cbrgateway.v1 import task_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.state import OPEN, OperationView, State, Store
from gateway.tasks.correlation import ALWAYS, RULES, Claim, Hits, Search, Task, hits
from gateway.tasks.record import Note, Trace, claim
from gateway.tasks.truth import Truth

_BEFORE_S: Final = 120.0
"""Tasks that began up to this long before a change tell how late CBR lists them."""
_OBJECTS: Final = {
    "VaultService/DeleteVault": ("VaultService/GetVault", "vault_id"),
    "BackupService/DeleteBackup": ("BackupService/GetBackup", "backup_id"),
    "PolicyService/DeletePolicy": ("PolicyService/GetPolicy", "policy_id"),
    "OrganizationPolicyService/DeleteOrganizationPolicy": ("OrganizationPolicyService/GetOrganizationPolicy", "organization_policy_id"),
    "AgentService/UnregisterAgent": ("AgentService/GetAgent", "agent_id"),
}
"""RPCs whose success also shows by an object that is gone: RPC -> the read, and its field."""


def search_of(truth: Truth, rpc: str, trace: Trace, answer: Any = None) -> Search:  # noqa: ANN401 - the response of any asynchronous RPC
    """What the tasks of an operation look like. `answer`: None where it is not known."""
    return RULES[rpc](truth.catalog[rpc].request_type.FromString(trace.request), answer)


async def listed(truth: Truth, project: str, own: Claim) -> list[Task]:
    """The tasks of a project among which those of the change must be. Raises GatewayError, and KeyError for a project that is not served."""
    search = own.search
    wanted: dict[str, Any] = {"vault_id": search.vault_id}
    if own.began != ALWAYS:
        wanted["start_time"] = Timestamp(seconds=int(own.began))
    if len(search.kinds) == 1 and search.kinds[0] != task_pb2.TASK_TYPE_OTHER:
        wanted["type"] = search.kinds[0]
    return await truth.rows("TaskService/ListTasks", project, "tasks", **wanted)


async def others(store: Store, truth: Truth, project: str, own: OperationView, reach_s: float) -> list[Claim]:
    """The other changes of a project that began up to `reach_s` before this one and may have started work. Raises StoreDown, KeyError as `listed`."""
    found = []
    for op in await store.on_topic(project, own.created_at - reach_s):
        if op.id != own.id and (op.state in OPEN or op.state is State.COMMITTED):
            trace = Trace.of(op.detail)
            found.append(claim(op, trace, Note.of(op.note), search_of(truth, op.rpc, trace), truth.clock(project)))
    return found


async def look(store: Store, truth: Truth, op: OperationView, trace: Trace, reach_s: float) -> tuple[Sequence[Task], Hits]:
    """The tasks of a project since a while before a change of which no more is known, and those that fit it. Raises as `listed` and `others`."""
    await truth.time(trace.project)
    own = claim(op, trace, None, search_of(truth, op.rpc, trace), truth.clock(trace.project))
    since = {} if own.began == ALWAYS else {"start_time": Timestamp(seconds=int(own.began - _BEFORE_S))}
    tasks = await truth.rows("TaskService/ListTasks", trace.project, "tasks", **since)
    return tasks, hits(own, tasks, await others(store, truth, trace.project, op, reach_s))


async def gone(truth: Truth, rpc: str, trace: Trace) -> bool:
    """Whether what a change was to delete is no longer there; False for all other changes. Raises GatewayError, and KeyError as `listed`."""
    if rpc not in _OBJECTS:
        return False
    read, name = _OBJECTS[rpc]
    request: Any = truth.catalog[rpc].request_type.FromString(trace.request)
    return await truth.read(read, trace.project, {name: getattr(request, name)}) is None
