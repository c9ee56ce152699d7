"""Whether a change whose outcome is unknown was carried out, told from what CBR shows. Looks only, never sends a change again.

found     one object, and with it the response that the change would have had
absent    CBR does not show it; after a while that means: it never happened
several   more than one object fits; nobody can say which one is ours
no way    nothing that CBR shows would tell; an operator has to settle it
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from cbrgateway.v1 import task_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.quota.demands import MARKER
from gateway.quota.ledger import Trace
from gateway.quota.truth import Truth
from gateway.state import OperationView
from gateway.upstream.declaration import RetryClass

_SKEW_S: Final = 60.0
"""How far the clocks of CBR and this machine may be apart."""


class Sign(Enum):
    FOUND = auto()
    ABSENT = auto()
    SEVERAL = auto()
    NO_WAY = auto()


@dataclass(frozen=True, slots=True)
class Evidence:
    """`response` and `resource_id`: of what was found."""

    sign: Sign
    response: Message | None = None
    resource_id: str = ""
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One operation with its request as the caller sent it, and the reads to look with."""

    op: OperationView
    trace: Trace
    request: Any
    truth: Truth

    def response(self, **fields: object) -> Message:
        return self.truth.catalog[self.op.rpc].response_type(**fields)

    def since(self) -> Timestamp:
        return Timestamp(seconds=int(self.op.created_at - _SKEW_S))

    def fresh(self, moment: Timestamp) -> bool:
        """Whether an object with this creation time can be the operation's."""
        return bool(moment.seconds >= self.op.created_at - _SKEW_S)


Look = Callable[[Case], Awaitable[Evidence]]


def _from(hits: Sequence[Any], response: Callable[[Any], Message | None], *, created: bool = True) -> Evidence:
    if len(hits) == 1:
        return Evidence(Sign.FOUND, response(hits[0]), hits[0].id if created else "")
    return Evidence(Sign.SEVERAL, ids=tuple(hit.id for hit in hits)) if hits else Evidence(Sign.ABSENT)


async def _vault(case: Case) -> Evidence:
    vaults = await case.truth.rows("VaultService/ListVaults", case.trace.project, "vaults")
    if case.trace.marked:
        hits = [v for v in vaults if any(tag.key == MARKER and tag.value == case.op.id for tag in v.tags)]
    else:
        hits = [v for v in vaults if v.name == case.request.vault.name and case.fresh(v.create_time)]
    return _from(hits, lambda vault: case.response(vault=vault))


async def _policy(case: Case) -> Evidence:
    policies = await case.truth.rows("PolicyService/ListPolicies", case.trace.project, "policies")
    hits = [p for p in policies if p.name == case.request.policy.name and case.fresh(p.trigger.properties.start_time)]
    return _from(hits, lambda policy: case.response(policy=policy))


async def _checkpoint(case: Case) -> Evidence:
    """The tasks of a new checkpoint name it; nobody else's checkpoint of that vault and time can be told apart, unless there is only one."""
    vault_id = case.request.checkpoint.vault_id
    found = await _tasks(case, task_pb2.TASK_TYPE_BACKUP, vault_id=vault_id)
    ids = {task.checkpoint_id for task in found if task.checkpoint_id and not task.policy_id}
    if len(ids) != 1:
        return Evidence(Sign.SEVERAL, ids=tuple(ids)) if ids else Evidence(Sign.ABSENT)
    (checkpoint_id,) = ids
    seen = await case.truth.read("CheckpointService/GetCheckpoint", case.trace.project, {"checkpoint_id": checkpoint_id})
    return Evidence(Sign.FOUND, case.response(checkpoint=seen.checkpoint) if seen else None)


async def _restore(case: Case) -> Evidence:
    tasks = await _tasks(case, task_pb2.TASK_TYPE_RESTORE)
    hits = [task for task in tasks if task.details.restore.backup_id == case.request.backup_id]
    # A restore is never sent again and never given up by itself: absence proves nothing.
    return _from(hits, lambda _task: None, created=False) if hits else Evidence(Sign.NO_WAY)


async def _migration(case: Case) -> Evidence:
    tasks = await _tasks(case, task_pb2.TASK_TYPE_MIGRATE_RESOURCES, vault_id=case.request.vault_id)
    return _from(tasks, lambda _task: None, created=False) if tasks else Evidence(Sign.NO_WAY)


async def _replication(case: Case) -> Evidence:
    tasks = await _tasks(case, task_pb2.TASK_TYPE_REPLICATION)
    hits = [task for task in tasks if task.details.replication.source_backup_id == case.request.backup_id]
    return _from(hits, lambda _task: None, created=False)


async def _tasks(case: Case, kind: int, **fields: object) -> list[Any]:
    rows = await case.truth.rows("TaskService/ListTasks", case.trace.project, "tasks", type=kind, start_time=case.since(), **fields)
    return [task for task in rows if case.fresh(task.create_time)]


LOOKS: Final[Mapping[str, Look]] = {
    "VaultService/CreateVault": _vault,
    "PolicyService/CreatePolicy": _policy,
    "CheckpointService/CreateCheckpoint": _checkpoint,
    "BackupService/ReplicateBackup": _replication,
    "BackupService/RestoreBackup": _restore,
    "VaultService/MigrateVaultResources": _migration,
}


async def look(case: Case) -> Evidence:
    """Raises GatewayError when CBR cannot be read: an error is not absence."""
    special = LOOKS.get(case.op.rpc)
    if special is not None:
        return await special(case)
    binding = case.truth.catalog[case.op.rpc]
    if binding.retry_class is RetryClass.CONVERGE:
        response = await case.truth.in_force(case.op.rpc, case.trace.project, case.request)
        return Evidence(Sign.ABSENT) if response is None else Evidence(Sign.FOUND, response)
    if binding.retry_class is RetryClass.DELETE:
        # To repeat a delete is safe, so that its request_id may as well be free again; counters follow the recount.
        return Evidence(Sign.ABSENT)
    return Evidence(Sign.NO_WAY)
