"""Tasks: what the service calls operation logs, and the engine that moves them.

A task changes state in three ways only: `settle` (time went by), `read` (somebody looked at it) and
`start` (it was born skipped). Each change calls the task's `enter` function with the new status,
which is how backups, vaults and resources follow.
"""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from emulator.clock import Clock
from emulator.ids import Ids
from emulator.model import Vault
from emulator.transitions import (
    RUNNING,
    SKIPPED,
    STAGES,
    SUCCESS,
    WAITING,
    Mode,
    Pace,
    progress,
    stage,
)

Enter = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task will end, decided when it starts."""

    status: str = SUCCESS
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a task is, and of which vault."""

    project_id: str
    provider_id: str
    enterprise_project_id: str
    vault_id: str | None
    vault_name: str | None

    @classmethod
    def of(cls, vault: Vault) -> "Owner":
        return cls(
            vault.project_id,
            vault.product.provider_id,
            vault.enterprise_project_id,
            vault.id,
            vault.name,
        )


@dataclass(slots=True)
class Task:
    """One operation log."""

    id: str
    type: str
    project_id: str
    created_at: float
    provider_id: str
    vault_id: str | None
    vault_name: str | None
    resource: dict[str, Any]
    """`extra_info.resource`: {"id", "type", "name"} and mostly "extra_info": null."""
    part: str
    """Key of the type's own part in `extra_info`, for example `remove_resources`."""
    details: dict[str, Any]
    request_id: str
    task_id: str
    outcome: Outcome
    enterprise_project_id: str
    policy_id: str | None = None
    checkpoint_id: str | None = None
    status: str = WAITING
    updated_at: float = 0.0
    ended_at: float | None = None
    reads: int = 0
    subjects: frozenset[str] = frozenset()
    """Ids of the objects it works on; reading one of them counts as reading the task."""
    enter: Enter = field(default=lambda _status: None, repr=False)


class Tasks:
    """All tasks of the emulated service, oldest first."""

    def __init__(self, clock: Clock, ids: Ids, pace: Pace) -> None:
        self._clock = clock
        self._ids = ids
        self.pace = pace
        self.log: dict[str, Task] = {}
        self._active: dict[str, Task] = {}
        self._due: list[tuple[float, int, str]] = []
        self._pushed = 0

    def start(
        self,
        kind: str,
        owner: Owner,
        *,
        resource: dict[str, Any],
        part: str,
        details: dict[str, Any],
        enter: Enter,
        outcome: Outcome | None = None,
        subjects: Iterable[str] = (),
        policy_id: str | None = None,
        checkpoint_id: str | None = None,
    ) -> Task:
        """Create a task and put it in its first state; with the outcome `skipped` it ends here."""
        now = self._clock.now()
        task = Task(
            id=self._ids.new(),
            type=kind,
            **asdict(owner),
            created_at=now,
            updated_at=now,
            resource=resource,
            part=part,
            details=details,
            request_id=f"req-{self._ids.new()}",
            task_id=self._ids.new(),
            outcome=outcome or Outcome(),
            policy_id=policy_id,
            checkpoint_id=checkpoint_id,
            subjects=frozenset(subjects),
            enter=enter,
        )
        self._begin(task)
        return task

    def _begin(self, task: Task) -> None:
        self.log[task.id] = task
        if task.outcome.status == SKIPPED:
            self._finish(task)
            return
        self._active[task.id] = task
        task.enter(WAITING)
        self._schedule(task)

    def settle(self) -> None:
        """Bring every task to where it belongs at the present time; call it before each request."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            task = self._active.get(heapq.heappop(self._due)[2])
            if task is not None:
                self._advance(task)

    def read(self, *subjects: str) -> None:
        """Note that a client looks at these tasks or objects (it matters in Mode.READS only)."""
        if not self.counts_reads:
            return
        seen = frozenset(subjects)
        for task in list(self._active.values()):
            if task.id in seen or not seen.isdisjoint(task.subjects):
                task.reads += 1
                self._advance(task)

    @property
    def counts_reads(self) -> bool:
        """Whether `read` has any effect now; lists ask before they collect ids for it."""
        return self.pace.mode is Mode.READS and bool(self._active)

    def set_pace(self, pace: Pace) -> None:
        """Change the pace, also for tasks that are under way."""
        self.pace = pace
        self._due.clear()
        for task in self._active.values():
            self._schedule(task)

    def busy(self, subject: str) -> bool:
        """Return whether an unfinished task works on this object."""
        return any(subject in task.subjects for task in self._active.values())

    def progress(self, task: Task) -> int:
        """Return the percentage to show."""
        if task.id in self._active:
            return progress(self._share(task))
        return 100 if task.status == SUCCESS else 0

    def _share(self, task: Task) -> float:
        match self.pace.mode:
            case Mode.IMMEDIATE:
                return 1.0
            case Mode.READS:
                return task.reads / max(1, self.pace.reads)
            case Mode.TIME:
                return (self._clock.now() - task.created_at) / max(1e-9, self.pace.duration_s)

    def _schedule(self, task: Task) -> None:
        if self.pace.mode is Mode.READS:
            return
        length = self.pace.duration_s if self.pace.mode is Mode.TIME else 0.0
        for share in (*(start for start, _ in STAGES[1:]), 1.0):
            # A hair late, so that rounding never finds the task just short of its next stage.
            due = task.created_at + share * length + 1e-7
            heapq.heappush(self._due, (due if length else task.created_at, self._pushed, task.id))
            self._pushed += 1

    def _advance(self, task: Task) -> None:
        status = stage(self._share(task))
        if status is None:
            self._finish(task)
        elif status == RUNNING and task.status == WAITING:
            task.status = RUNNING
            task.updated_at = self._clock.now()
            task.enter(RUNNING)

    def _finish(self, task: Task) -> None:
        self._active.pop(task.id, None)
        task.status = task.outcome.status
        task.updated_at = task.ended_at = self._clock.now()
        task.enter(task.status)
