"""What the tasks that a change started look like.

Pure; which task is whose is for `changes` to tell.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

import msgspec
from cbrgateway.v1 import task_pb2

Task: TypeAlias = task_pb2.Task


class Search(msgspec.Struct, frozen=True):
    """What a change's tasks look like.

    Empty members say nothing. Kept in the store, so that any replica can go on with it.

    `subjects`: what the change is made to; each has one task, and one task can have several of
    them. `countable`: whether tasks name all their subjects, so that one can tell when all are
    there.
    """

    kinds: tuple[task_pb2.TaskType.ValueType, ...]
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

    def leaves_out(self, task: Task) -> bool:
        """Whether a task can stand for a resource that CBR left out; it belongs to no
        checkpoint.
        """
        return (
            task.type == task_pb2.TASK_TYPE_BACKUP
            and task.type in self.kinds
            and task.status == task_pb2.TASK_STATUS_SKIPPED
            and not task.checkpoint_id
            and task.policy_id == self.policy_id
            and self.vault_id in {"", task.vault_id}
        )


_SUBJECTS: Final[Mapping[int, Callable[[Task], Iterable[str]]]] = {
    task_pb2.TASK_TYPE_BACKUP: lambda task: (task.details.resource.id,),
    task_pb2.TASK_TYPE_COPY: lambda task: (task.details.replication.source_backup_id,),
    task_pb2.TASK_TYPE_REPLICATION: lambda task: (task.details.replication.source_backup_id,),
    task_pb2.TASK_TYPE_RESTORE: lambda task: (task.details.restore.backup_id,),
    task_pb2.TASK_TYPE_DELETE: lambda task: (task.details.delete.backup_id,),
    task_pb2.TASK_TYPE_SYNC: lambda task: (task.details.resource.id, task.vault_id),
    task_pb2.TASK_TYPE_VAULT_DELETE: lambda task: (task.vault_id,),
    task_pb2.TASK_TYPE_REMOVE_RESOURCE: lambda task: (
        task.details.resource.id,
        *(each.id for each in task.details.remove_resources.resources),
    ),
    task_pb2.TASK_TYPE_MIGRATE_RESOURCES: lambda task: (task.details.resource.id,),
    # The type of a change of expiration is not published; its details tell it from others.
    task_pb2.TASK_TYPE_OTHER: lambda task: (
        (task.vault_id,) if task.details.HasField("update_expiration") else ()
    ),
}


def subjects_of(task: Task) -> set[str]:
    """What a task works on, named as requests name it."""
    rule = _SUBJECTS.get(task.type)
    return {subject for subject in rule(task) if subject} if rule else set()
