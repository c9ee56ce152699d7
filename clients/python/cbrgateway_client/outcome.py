"""What became of work that was waited for: `blocking` and `aio` have the waits, this their
accounts.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import grpc
from cbrgateway.v1 import errors_pb2, task_pb2, types_pb2
from google.protobuf.message import Message

from cbrgateway_client.errors import CallError, reason_in, reason_of
from cbrgateway_client.retry import seconds

Target = types_pb2.Submission | task_pb2.Task | str
"""What can be waited for: a submission, a task, the id of a task."""
_MOST_IDS: Final = 100
"""As many of a kind fit into the filter of one watch."""
_NAMED: Final = 10
_PENDING: Final = frozenset(
    {
        types_pb2.SUBMISSION_STATE_UNSPECIFIED,
        types_pb2.SUBMISSION_STATE_CORRELATING,
        types_pb2.SUBMISSION_STATE_OUTCOME_UNKNOWN,
    }
)


@dataclass(frozen=True, slots=True)
class Ended:
    """Work that has ended well."""

    tasks: tuple[task_pb2.Task, ...] = ()
    """Those that have succeeded, in the order of their ends."""
    skipped: tuple[types_pb2.SkippedResource, ...] = ()
    """Resources that CBR left out of the work, with code and reason."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One task that did not succeed; or a submission that came to nothing, or nobody knows to
    what.
    """

    id: str
    """Of the task, or of the submission."""
    message: str
    task: task_pb2.Task | None = None
    """As it was last seen. None: it is a submission, or nothing is known of the task."""
    code: str = ""
    """CBR's, such as `BackupService.6125`. Empty: CBR gave none."""
    reason_name: str = ""
    """Ours, such as `UPSTREAM_INTERNAL`. Empty: there is none."""

    @property
    def reason(self) -> errors_pb2.ErrorReason.ValueType:
        """Ours, as cbrgateway.v1.ErrorReason."""
        return reason_of(self.reason_name)

    def __str__(self) -> str:
        """A line for people."""
        about = ", ".join(filter(None, (self.code, self.reason_name)))
        return f"{self.id}: {self.message}{f' ({about})' if about else ''}"


class TaskFailed(Exception):  # noqa: N818 - what it says is that a task has failed
    """Work that has ended, and not all of it well."""

    def __init__(self, failures: Sequence[Failure], ended: Ended) -> None:
        super().__init__(tuple(failures), ended)
        self.failures = tuple(failures)
        self.ended = ended
        """What did end well, and what was skipped."""

    def __str__(self) -> str:
        """How many, and each in a line of its own."""
        head = f"{len(self.failures)} failed, {len(self.ended.tasks)} succeeded:"
        left_out = (f"skipped {each.id}: {each.reason or each.code}" for each in self.ended.skipped)
        return "\n  ".join((head, *map(str, self.failures), *left_out))


def countdown(timeout_s: float | None) -> Callable[[], float | None]:
    """How much is left of it, from now on. None: there is no end.

    Raises ValueError for what is no number.
    """
    if timeout_s is None:
        return lambda: None
    ends_at = time.monotonic() + seconds("timeout_s", timeout_s)
    return lambda: max(0.0, ends_at - time.monotonic())


def submission_of(answer: Message) -> types_pb2.Submission:
    """The work that a change has started. Raises ValueError if its answer tells of none."""
    name = answer.DESCRIPTOR.name
    if "submission" not in answer.DESCRIPTOR.fields_by_name:
        raise ValueError(f"{name} has no submission: it starts no work to wait for")
    if not answer.HasField("submission"):
        raise ValueError(
            f"{name} came without its submission: the change was only validated, or the gateway"
            " could not record the work; look for its tasks with ListTasks"
        )
    submission: types_pb2.Submission = getattr(answer, "submission")  # noqa: B009 - of any answer
    return submission


@dataclass(slots=True)
class Work:
    """What one wait is for, and what is known of it."""

    task_ids: Sequence[str]
    submission_ids: Sequence[str]
    _submissions: dict[str, types_pb2.Submission] = field(default_factory=dict)
    _seen: dict[str, task_pb2.Task] = field(default_factory=dict)
    _ended: dict[str, task_pb2.Task] = field(default_factory=dict)
    _removed: dict[str, task_pb2.TaskRemoval] = field(default_factory=dict)

    @classmethod
    def of(cls, what: Target | Iterable[Target]) -> "Work":
        """Raises ValueError for what has no id."""
        single = isinstance(what, str | Message)
        targets: tuple[Target, ...] = (what,) if single else tuple(what)  # type: ignore[arg-type, assignment]
        ids: dict[bool, dict[str, None]] = {True: {}, False: {}}
        for target in targets:
            name = target if isinstance(target, str) else target.id
            if not name:
                raise ValueError(
                    "what is waited for has no id: the answer of the change came without its"
                    " submission; look for its tasks with ListTasks"
                )
            ids[isinstance(target, types_pb2.Submission)][name] = None
        return cls(tuple(ids[False]), tuple(ids[True]))

    def requests(self) -> Iterator[task_pb2.WatchTasksRequest]:
        """Of the watches that follow all of it, one after the other: what has ended by then is told
        at once.
        """
        for ids in _parts(self.submission_ids):
            yield _until_ended(task_pb2.TaskFilter(submission_ids=ids))
        for ids in _parts(self.task_ids):
            yield _until_ended(task_pb2.TaskFilter(task_ids=ids))

    def take(self, event: task_pb2.WatchTasksResponse) -> None:
        match event.WhichOneof("event"):
            case "submission":
                self._submissions[event.submission.id] = event.submission
            case "snapshot_task":
                self._seen[event.snapshot_task.id] = event.snapshot_task
            case "update":
                self._seen[event.update.task.id] = event.update.task
            case "terminal":
                self._ended[event.terminal.task.id] = event.terminal.task
            case "removed":
                self._removed[event.removed.task_id or event.removed.submission_id] = event.removed

    def outcome(self) -> Ended:
        """When all watches are over. Raises TaskFailed."""
        good = [
            task for task in self._ended.values() if task.status == task_pb2.TASK_STATUS_SUCCEEDED
        ]
        skipped = chain.from_iterable(each.skipped_resources for each in self._submissions.values())
        ended = Ended(tuple(good), tuple(skipped))
        if failures := [*self._failures()]:
            raise TaskFailed(failures, ended)
        return ended

    def late(self, timeout_s: float | None) -> CallError:
        """The error of a wait whose time was up."""
        still_open = self.still_open()
        named = ", ".join(still_open[:_NAMED])
        more = f" and {len(still_open) - _NAMED} more" if len(still_open) > _NAMED else ""
        text = f"After {timeout_s:g} s these have not ended: {named}{more}."
        error = CallError(grpc.StatusCode.DEADLINE_EXCEEDED, None, None, text)
        error.still_open = still_open
        return error

    def still_open(self) -> tuple[str, ...]:
        """The ids of what has not ended: of tasks, and of submissions whose tasks are not all
        known.
        """
        over = self._ended.keys() | self._removed.keys()
        found: dict[str, None] = {}
        for name in self.submission_ids:
            told = self._submissions.get(name)
            if name not in over and (told is None or told.state in _PENDING):
                found[name] = None
            found |= dict.fromkeys(told.task_ids if told else ())
        found |= dict.fromkeys(self.task_ids)
        return tuple(name for name in found if name not in over)

    def _failures(self) -> Iterator[Failure]:
        for task in self._ended.values():
            if task.status != task_pb2.TASK_STATUS_SUCCEEDED:
                yield _of_task(task)
        for name, removal in self._removed.items():
            if name not in self._ended:
                yield _of_removal(name, removal, self._seen.get(name))
        for each in self._submissions.values():
            if each.state == types_pb2.SUBMISSION_STATE_NOT_STARTED and not each.skipped_resources:
                yield Failure(each.id, "No work was started.")
            if each.state == types_pb2.SUBMISSION_STATE_UNDECIDED:
                text = f"It cannot be told whether CBR has it: {each.state_reason}"
                yield Failure(each.id, text, reason_name="OUTCOME_UNKNOWN")


def _of_task(task: task_pb2.Task) -> Failure:
    state = task.status_raw or task_pb2.TaskStatus.Name(task.status)
    ours, theirs = task.failure.message or f"It ended as {state}.", task.error_info.message
    text = f"{ours} CBR: {theirs}" if theirs else ours
    return Failure(task.id, text, task, task.error_info.code, reason_in(task.failure))


def _of_removal(name: str, removal: task_pb2.TaskRemoval, seen: task_pb2.Task | None) -> Failure:
    if removal.reason == task_pb2.TASK_REMOVAL_REASON_UNREADABLE:
        text = f"It cannot be read: {removal.failure.message}"
        return Failure(name, text, seen, reason_name=reason_in(removal.failure))
    kind = "TASK" if removal.task_id else "SUBMISSION"
    gone = removal.reason == task_pb2.TASK_REMOVAL_REASON_GONE
    text = "It is gone, and its end was not seen." if gone else "It is not known."
    return Failure(name, text, seen, reason_name=f"{kind}_NOT_FOUND")


def _until_ended(wanted: task_pb2.TaskFilter) -> task_pb2.WatchTasksRequest:
    return task_pb2.WatchTasksRequest(filter=wanted, end_when_all_terminal=True)


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _MOST_IDS] for start in range(0, len(ids), _MOST_IDS))
