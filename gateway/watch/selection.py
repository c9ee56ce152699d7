"""Which tasks a stream follows: a TaskFilter made ready for many questions."""

import hashlib
from collections.abc import Mapping
from typing import Final

from cbrgateway.v1 import task_pb2

from gateway.watch.row import Row

_OWNER_BYTES: Final = 16


class Selection:
    """`ids` begins with the tasks that the filter names, and grows by those of the submissions that
    it names. It is empty for filters without ids.
    """

    def __init__(self, wanted: task_pb2.TaskFilter) -> None:
        self.task_ids = tuple(wanted.task_ids)
        self.submission_ids = tuple(wanted.submission_ids)
        self.ids = set(wanted.task_ids)
        self._statuses = frozenset(wanted.statuses)
        self._types = frozenset(wanted.types)
        self._vault_id = wanted.vault_id
        self._resource_id = wanted.resource_id

    @property
    def by_id(self) -> bool:
        return bool(self.task_ids or self.submission_ids)

    def selects(self, task: task_pb2.Task) -> bool:
        """Whether the task is meant, whatever its state."""
        if self.by_id and task.id not in self.ids:
            return False
        if (self._types and task.type not in self._types) or self._vault_id not in {
            "",
            task.vault_id,
        }:
            return False
        return not self._resource_id or self._resource_id in _resources_of(task)

    def among(self, rows: Mapping[str, Row]) -> list[Row]:
        """The rows that are meant."""
        candidates = (
            (rows[task_id] for task_id in self.ids if task_id in rows)
            if self.by_id
            else rows.values()
        )
        return [row for row in candidates if self.selects(row.task)]

    def shows(self, task: task_pb2.Task) -> bool:
        """Whether its state is one of those asked for."""
        return not self._statuses or task.status in self._statuses


def _resources_of(task: task_pb2.Task) -> set[str]:
    details = task.details
    return {
        details.resource.id,
        details.restore.target_resource_id,
        *(resource.id for resource in details.remove_resources.resources),
    }


def owner_of(scope: str, wanted: task_pb2.TaskFilter) -> bytes:
    """What a resume token belongs to: who watches, in which project, and the filter.

    `scope`: tenant and project.
    """
    return hashlib.sha256(
        f"{scope}\0".encode() + wanted.SerializeToString(deterministic=True)
    ).digest()[:_OWNER_BYTES]
