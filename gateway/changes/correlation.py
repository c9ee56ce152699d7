"""Correlation: which tasks a change started. Pure: from a request and its answer to a search, and from tasks to a finding.

CBR takes no token of a caller, and many answers name no task. Evidence, best first:

    named     ids of tasks in the answer
    proven    an id in the answer that only the change's own tasks carry: the new checkpoint's
    likely    type, vault, object and time. Ambiguous as soon as more fits than the change can have started, or another change can have started it too
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from cbrgateway.v1 import task_pb2, types_pb2

from gateway.upstream.remote_clock import latest

ALWAYS: Final = -math.inf
"""When a change began of which that is not known, or cannot be compared with CBR's times: it may have started any task, but none for sure."""

CORRELATING: Final = int(types_pb2.SUBMISSION_STATE_CORRELATING)
RESOLVED: Final = int(types_pb2.SUBMISSION_STATE_RESOLVED)
AMBIGUOUS: Final = int(types_pb2.SUBMISSION_STATE_AMBIGUOUS)
OUTCOME_UNKNOWN: Final = int(types_pb2.SUBMISSION_STATE_OUTCOME_UNKNOWN)
NOT_STARTED: Final = int(types_pb2.SUBMISSION_STATE_NOT_STARTED)
UNDECIDED: Final = int(types_pb2.SUBMISSION_STATE_UNDECIDED)

Task = Any
"""A task_pb2.Task."""


class Search(msgspec.Struct, frozen=True):
    """What a change's tasks look like. Empty members say nothing. Kept in the store, so that any replica can go on with it.

    `subjects`: what the change is made to; each has one task, and one task can have several of them. `countable`: whether tasks name all their
    subjects, so that one can tell when all are there.
    """

    kinds: tuple[int, ...]
    subjects: tuple[str, ...] = ()
    countable: bool = True
    named: tuple[str, ...] = ()
    vault_id: str = ""
    checkpoint_id: str = ""
    policy_id: str = ""
    target_id: str = ""
    destination_project_id: str = ""

    @property
    def proven(self) -> bool:
        """Whether what fits is the change's own for sure."""
        return bool(self.named or self.checkpoint_id)

    def fits(self, task: Task) -> bool:
        if self.named:
            return task.id in self.named
        if task.type not in self.kinds or self.vault_id not in {"", task.vault_id}:
            return False
        if self.checkpoint_id:
            return bool(task.checkpoint_id == self.checkpoint_id)
        details = task.details
        return (
            task.policy_id == self.policy_id
            # One that was skipped belongs to no checkpoint, and the answer has told of it.
            and (task.type != task_pb2.TASK_TYPE_BACKUP or bool(task.checkpoint_id))
            and self.target_id in {"", details.resource.id, details.restore.target_resource_id}
            and self.destination_project_id in {"", details.replication.destination_project_id}
            and (not self.subjects or not subjects_of(task).isdisjoint(self.subjects))
        )


_SUBJECTS: Final[Mapping[int, Callable[[Task], Iterable[str]]]] = {
    task_pb2.TASK_TYPE_BACKUP: lambda task: (task.details.resource.id,),
    task_pb2.TASK_TYPE_COPY: lambda task: (task.details.replication.source_backup_id,),
    task_pb2.TASK_TYPE_REPLICATION: lambda task: (task.details.replication.source_backup_id,),
    task_pb2.TASK_TYPE_RESTORE: lambda task: (task.details.restore.backup_id,),
    task_pb2.TASK_TYPE_DELETE: lambda task: (task.details.delete.backup_id,),
    task_pb2.TASK_TYPE_SYNC: lambda task: (task.details.resource.id, task.vault_id),
    task_pb2.TASK_TYPE_VAULT_DELETE: lambda task: (task.vault_id,),
    task_pb2.TASK_TYPE_REMOVE_RESOURCE: lambda task: (task.details.resource.id, *(each.id for each in task.details.remove_resources.resources)),
    task_pb2.TASK_TYPE_MIGRATE_RESOURCES: lambda task: (task.details.resource.id,),
    # The type of a change of expiration is not published; its details tell it from others.
    task_pb2.TASK_TYPE_OTHER: lambda task: (task.vault_id,) if task.details.HasField("update_expiration") else (),
}


def subjects_of(task: Task) -> set[str]:
    """What a task works on, named as requests name it."""
    return {subject for subject in _SUBJECTS.get(task.type, lambda _task: ())(task) if subject}


# From a call to its search ---------------------------------------------------------------------------------------------------------

_REPLICATIONS: Final = (task_pb2.TASK_TYPE_REPLICATION, task_pb2.TASK_TYPE_COPY)


def _checkpoint(request: Any, answer: Any) -> Search:  # noqa: ANN401 - one concrete message each
    wanted, kinds = request.checkpoint, (task_pb2.TASK_TYPE_BACKUP,)
    parameters = wanted.parameters
    asked = {*parameters.resource_ids, *(resource.id for resource in parameters.resource_details)}
    if answer is None or not answer.checkpoint.id:
        return Search(kinds, tuple(sorted(asked)), countable=bool(asked), vault_id=wanted.vault_id, policy_id=parameters.policy_id)
    vault = answer.checkpoint.vault
    backed_up = (asked or {resource.id for resource in vault.resources}) - {resource.id for resource in vault.skipped_resources}
    return Search(kinds, tuple(sorted(backed_up)), countable=bool(backed_up), vault_id=wanted.vault_id, checkpoint_id=answer.checkpoint.id)


def _restore(request: Any, answer: Any) -> Search:  # noqa: ANN401
    target = request.restore.server_id or request.restore.volume_id or request.restore.resource_id
    return Search((task_pb2.TASK_TYPE_RESTORE,), (request.backup_id,), named=_ids(answer and answer.task_id), target_id=target)


def _backup_deleted(request: Any, _answer: Any) -> Search:  # noqa: ANN401
    return Search((task_pb2.TASK_TYPE_DELETE,), (request.backup_id,))


def _backup_replicated(request: Any, _answer: Any) -> Search:  # noqa: ANN401
    return Search(_REPLICATIONS, (request.backup_id,), destination_project_id=request.replicate.destination_project_id)


def _vault_replicated(request: Any, answer: Any) -> Search:  # noqa: ANN401
    wanted = request.replicate
    backups = tuple(each.backup_id for each in answer.replication.backups) if answer else ()
    return Search(*(_REPLICATIONS, backups, bool(backups)), vault_id=wanted.vault_id, destination_project_id=wanted.destination_project_id)


def _backups_synchronised(request: Any, answer: Any) -> Search:  # noqa: ANN401
    ids = _ids(*(each.task_id for each in answer.sync)) if answer else ()
    return Search((task_pb2.TASK_TYPE_SYNC,), tuple(sorted({each.resource_id for each in request.sync})), named=ids)


def _vault_synchronised(request: Any, answer: Any) -> Search:  # noqa: ANN401
    return Search((task_pb2.TASK_TYPE_SYNC,), (request.sync.vault_id,), named=_ids(answer and answer.sync.task_id))


def _expiration(request: Any, answer: Any) -> Search:  # noqa: ANN401
    return Search((task_pb2.TASK_TYPE_OTHER,), (request.vault_id,), named=_ids(answer and answer.task_id))


def _vault_deleted(request: Any, _answer: Any) -> Search:  # noqa: ANN401
    return Search((task_pb2.TASK_TYPE_VAULT_DELETE,), (request.vault_id,))


def _removal(request: Any, _answer: Any) -> Search:  # noqa: ANN401
    return Search((task_pb2.TASK_TYPE_REMOVE_RESOURCE,), tuple(sorted(set(request.resource_ids))), vault_id=request.vault_id)


def _migration(request: Any, _answer: Any) -> Search:  # noqa: ANN401
    # Whether CBR makes one task for each resource or one for all is not published, nor where the task would name them.
    return Search((task_pb2.TASK_TYPE_MIGRATE_RESOURCES,), tuple(sorted(set(request.resource_ids))), countable=False, vault_id=request.vault_id)


def _ids(*found: str | None) -> tuple[str, ...]:
    return tuple(each for each in found if each)


RULES: Final[Mapping[str, Callable[[Any, Any], Search]]] = {
    "CheckpointService/CreateCheckpoint": _checkpoint,
    "CheckpointService/ReplicateCheckpoint": _vault_replicated,
    "CheckpointService/SyncCheckpoint": _vault_synchronised,
    "BackupService/RestoreBackup": _restore,
    "BackupService/DeleteBackup": _backup_deleted,
    "BackupService/ReplicateBackup": _backup_replicated,
    "BackupService/SyncBackups": _backups_synchronised,
    "VaultService/DeleteVault": _vault_deleted,
    "VaultService/RemoveVaultResources": _removal,
    "VaultService/MigrateVaultResources": _migration,
    "VaultService/UpdateBackupExpiration": _expiration,
}
"""RPC -> from its request and its answer (None: not known) to the search. One for each asynchronous RPC; a test holds it against the protos."""


# From tasks to a finding -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claim:
    """A change that can have started tasks. `began` and `found_at` (0: not yet) by CBR's clock; `open`: its outcome is not known."""

    id: str
    search: Search
    began: float
    open: bool = False
    found_at: float = 0.0
    task_ids: tuple[str, ...] = ()

    def may_own(self, task: Task) -> bool:
        return self.search.fits(task) and (self.search.proven or latest(task.create_time) >= self.began)


@dataclass(frozen=True, slots=True)
class Hits:
    """The tasks that fit a change, without those that are another's for sure. `rivals`: changes that can have started one of them as well."""

    tasks: tuple[Task, ...]
    rivals: tuple[Claim, ...]
    doubled: bool
    """More fits than the change can have started, or what fits may be older than it."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(task.id for task in self.tasks)


def hits(own: Claim, tasks: Iterable[Task], others: Collection[Claim]) -> Hits:
    """`others` must have been read after `tasks`: whoever started one of these is then among them, if it went through this gateway."""
    found = sorted({task.id: task for task in tasks if own.may_own(task)}.values(), key=lambda task: (task.create_time.ToNanoseconds(), task.id))
    if own.search.proven:
        return Hits(tuple(found), (), doubled=False)
    # What an earlier change was found to have started before this one was sent is not this one's.
    before = {task_id for other in others if 0 < other.found_at <= own.began for task_id in other.task_ids}
    left = [task for task in found if task.id not in before and not any(other.search.proven and other.may_own(task) for other in others)]
    rivals = [other for other in others if not other.search.proven and not 0 < other.found_at <= own.began and any(map(other.may_own, left))]
    subjects = [subject for task in left for subject in subjects_of(task) & set(own.search.subjects)]
    checkpoints = {task.checkpoint_id for task in left if task.type == task_pb2.TASK_TYPE_BACKUP}
    older = bool(left) and own.began == ALWAYS
    return Hits(tuple(left), tuple(rivals), doubled=older or len(set(subjects)) < len(subjects) or len(checkpoints) > 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """`state` of the submission (a SubmissionState); `final`: no later look will change it."""

    state: int
    task_ids: tuple[str, ...] = ()
    final: bool = True


def judge(own: Claim, found: Hits, *, settled: bool, given_up: bool) -> Finding:
    """What a look comes to. `settled`: what CBR has not listed by now it will not list; `given_up`: nobody waits any longer."""
    if found.rivals and any(rival.open for rival in found.rivals) and not given_up:
        # Once it is known what became of the other, there may be no doubt left.
        return Finding(CORRELATING, final=False)
    if found.rivals or found.doubled:
        return Finding(AMBIGUOUS, found.ids, final=settled)
    covered: set[str] = set().union(*(subjects_of(task) for task in found.tasks))
    complete = covered.issuperset(own.search.subjects) if own.search.countable else settled and bool(found.tasks)
    if complete or given_up:
        return Finding(RESOLVED, found.ids)
    return Finding(CORRELATING, found.ids, final=False)


def at_once(search: Search, skipped: Sequence[Any]) -> Finding:
    """What the answer alone says."""
    if search.named:
        return Finding(RESOLVED, search.named)
    if skipped and not search.subjects:
        return Finding(NOT_STARTED)
    return Finding(CORRELATING, final=False)
