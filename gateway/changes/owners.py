"""Which submission started a task, as far as this process has heard."""

import itertools
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, field

_MOST: Final = 100_000
"""Tasks whose submission is kept in memory."""


class TaskOwners(Struct):
    """One per process."""

    _of_task: dict[tuple[str, str], str] = field(default_factory=dict)

    def of(self, project: str, task_id: str) -> str:
        """The submission that started a task for sure; empty for none, or none yet."""
        return self._of_task.get((project, task_id), "")

    def put(self, project: str, task_ids: Iterable[str], submission_id: str) -> None:
        self._of_task.update({(project, task_id): submission_id for task_id in task_ids})
        for oldest in list(itertools.islice(self._of_task, max(0, len(self._of_task) - _MOST))):
            del self._of_task[oldest]
