"""Correlation: which tasks a change started.

Pure: from a search (upstream/task_search.py, made by the RPC's trait `search`) and tasks to a
finding.

CBR takes no token of a caller, and many answers name no task. Evidence, best first:

    named     ids of tasks in the answer
    proven    an id in the answer that only the change's own tasks carry: the new checkpoint's
    likely    type, vault, object and time. Ambiguous as soon as more fits than the change can have
              started, or another change can have started it too
"""

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from cbrgateway.v1 import task_pb2, types_pb2
from msgspec import Struct

from gateway.upstream.remote_clock import is_dated, latest
from gateway.upstream.task_search import Search, Task, subjects_of

ALWAYS: Final = -math.inf
"""When a change began of which that is not known, or cannot be compared with CBR's times: it may
have started any task, but none for sure.
"""

CORRELATING: Final = int(types_pb2.SUBMISSION_STATE_CORRELATING)
RESOLVED: Final = int(types_pb2.SUBMISSION_STATE_RESOLVED)
AMBIGUOUS: Final = int(types_pb2.SUBMISSION_STATE_AMBIGUOUS)
OUTCOME_UNKNOWN: Final = int(types_pb2.SUBMISSION_STATE_OUTCOME_UNKNOWN)
NOT_STARTED: Final = int(types_pb2.SUBMISSION_STATE_NOT_STARTED)
UNDECIDED: Final = int(types_pb2.SUBMISSION_STATE_UNDECIDED)


class Claim(Struct, frozen=True):
    """A change that can have started tasks.

    `began`, `agreed` (as Span has it) and `found_at` (0: not yet) by CBR's clock; `sent`: as
    `began`, as it was told then, to be compared with `found_at`; `open`: its outcome is not known.
    """

    id: str
    search: Search
    began: float
    open: bool = False
    found_at: float = 0.0
    task_ids: tuple[str, ...] = ()
    agreed: float = ALWAYS
    sent: float = ALWAYS

    def may_own(self, task: Task) -> bool:
        return self.search.fits(task) and (
            self.search.proven or latest(task.create_time) >= self.began
        )

    def may_be_newer_than(self, task: Task) -> bool:
        return (
            self.began == ALWAYS
            or not is_dated(task.create_time)
            or latest(task.create_time) < self.agreed
        )


class Hits(Struct, frozen=True):
    """The tasks that fit a change, without those that are another's for sure.

    `rivals`: changes that can have started one of them as well.
    """

    tasks: tuple[Task, ...]
    rivals: tuple[Claim, ...]
    doubled: bool
    """More fits than the change can have started, or what fits may be older than it."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(task.id for task in self.tasks)


def hits(own: Claim, tasks: Iterable[Task], others: Collection[Claim]) -> Hits:
    """`others` must have been read after `tasks`: whoever started one of these is then among them,
    if it went through this gateway.
    """
    found = sorted(
        {task.id: task for task in tasks if own.may_own(task)}.values(),
        key=lambda task: (task.create_time.ToNanoseconds(), task.id),
    )
    if own.search.proven:
        return Hits(tuple(found), (), doubled=False)
    # What an earlier change was found to have started before this one was sent is not this one's.
    before = {
        task_id for other in others if 0 < other.found_at <= own.sent for task_id in other.task_ids
    }
    left = [
        task
        for task in found
        if task.id not in before
        and not any(other.search.proven and other.may_own(task) for other in others)
    ]
    rivals = [
        other
        for other in others
        if not other.search.proven
        and not 0 < other.found_at <= own.sent
        and any(map(other.may_own, left))
    ]
    subjects = [
        subject for task in left for subject in subjects_of(task) & set(own.search.subjects)
    ]
    checkpoints = {task.checkpoint_id for task in left if task.type == task_pb2.TASK_TYPE_BACKUP}
    return Hits(
        tuple(left),
        tuple(rivals),
        doubled=any(map(own.may_be_newer_than, left))
        or len(set(subjects)) < len(subjects)
        or len(checkpoints) > 1,
    )


class Finding(Struct, frozen=True):
    """`state` of the submission (a SubmissionState); `final`: no later look will change it."""

    state: int
    task_ids: tuple[str, ...] = ()
    final: bool = True


def judge(own: Claim, found: Hits, *, settled: bool, given_up: bool) -> Finding:
    """What a look comes to.

    `settled`: what CBR has not listed by now it will not list; `given_up`: nobody waits any longer.
    """
    if found.rivals and any(rival.open for rival in found.rivals) and not given_up:
        # Once it is known what became of the other, there may be no doubt left.
        return Finding(CORRELATING, final=False)
    if found.rivals or found.doubled:
        return Finding(AMBIGUOUS, found.ids, final=settled)
    covered: set[str] = set().union(*(subjects_of(task) for task in found.tasks))
    complete = (
        covered.issuperset(own.search.subjects)
        if own.search.countable
        else settled and bool(found.tasks)
    )
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
