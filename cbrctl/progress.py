"""How events of WatchTasks look to people, a line for each change; and what came of it all."""

from collections import Counter
from types import TracebackType
from typing import Final, Self, TextIO

from cbrgateway.v1 import task_pb2, types_pb2

_FINAL: Final = frozenset(
    {
        task_pb2.TASK_STATUS_SUCCEEDED,
        task_pb2.TASK_STATUS_FAILED,
        task_pb2.TASK_STATUS_TIMED_OUT,
        task_pb2.TASK_STATUS_SKIPPED,
    }
)
DONE_PERCENT: Final = 100


def task_in(event: task_pb2.WatchTasksResponse) -> task_pb2.Task | None:
    """The task that the event tells of, if any."""
    match event.WhichOneof("event"):
        case "snapshot_task":
            return event.snapshot_task
        case "update":
            return event.update.task
        case "terminal":
            return event.terminal.task
    return None


class Notes:
    """What people should know beside the tasks; each sentence about a submission once, however
    often the stream tells of it.
    """

    def __init__(self) -> None:
        self._said: set[tuple[str, str]] = set()

    def new_in(self, event: task_pb2.WatchTasksResponse) -> str:
        """Empty: nothing."""
        if not event.HasField("submission"):
            return _note_in(event)
        name = event.submission.id
        news = [each for each in _notes_on(event.submission) if (name, each) not in self._said]
        self._said |= {(name, each) for each in news}
        return f"{name}: {' '.join(news)}" if news else ""


def _note_in(event: task_pb2.WatchTasksResponse) -> str:
    match event.WhichOneof("event"):
        case "gap":
            return f"Something may have been missed: {event.gap.reason}"
        case "removed":
            return _note_on_removal(event.removed)
        case "source_status":
            name, status = event.source_status.task_id or "CBR", event.source_status
            return (
                f"{name} can be read again."
                if status.healthy
                else f"{name} cannot be read: {status.failure.message}"
            )
    return ""


def _note_on_removal(removed: task_pb2.TaskRemoval) -> str:
    name = removed.task_id or removed.submission_id
    if removed.reason == task_pb2.TASK_REMOVAL_REASON_UNREADABLE:
        return (
            f"{name} is not waited for any more, since it cannot be read: {removed.failure.message}"
        )
    return (
        f"{name} is not known."
        if removed.reason == task_pb2.TASK_REMOVAL_REASON_NOT_FOUND
        else f"{name} is gone."
    )


def _notes_on(submission: types_pb2.Submission) -> list[str]:
    notes = []
    if submission.state == types_pb2.SUBMISSION_STATE_AMBIGUOUS:
        notes.append("more tasks fit than it can have started; all of them are shown.")
    if submission.state == types_pb2.SUBMISSION_STATE_NOT_STARTED:
        notes.append("no work was started.")
    if submission.state == types_pb2.SUBMISSION_STATE_UNDECIDED:
        notes.append(f"it cannot be told whether CBR has it: {submission.state_reason}.")
    if left_out := ", ".join(
        f"{each.name or each.id} ({each.reason or each.code})"
        for each in submission.skipped_resources
    ):
        notes.append(f"CBR left out {left_out}.")
    return notes


def state(task: task_pb2.Task) -> str:
    """The state in words, with why a task failed: as the audit log and the gateway's own log say
    it, and CBR's words beside it.
    """
    ours, theirs = task.failure.message, task.error_info.message
    if ours and theirs:
        ours = f"{ours} CBR: {theirs}"
    return f"{_word(task)}: {ours or theirs}" if ours or theirs else _word(task)


def _word(task: task_pb2.Task) -> str:
    return task.status_raw or task_pb2.TaskStatus.Name(task.status).removeprefix(
        "TASK_STATUS_"
    ).lower().replace("_", " ")


def percent(task: task_pb2.Task) -> int:
    """How far it is: 100 for whatever is final."""
    return DONE_PERCENT if task.status in _FINAL else task.details.common.progress_percent


def title(task: task_pb2.Task) -> str:
    kind = task.type_raw or task_pb2.TaskType.Name(task.type).removeprefix(
        "TASK_TYPE_"
    ).lower().replace("_", " ")
    return f"{kind} {task.details.resource.name or task.vault_name or task.id}"


class Tally:
    """What became of the tasks."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}

    def count(self, event: task_pb2.WatchTasksResponse) -> None:
        """Takes one event into account."""
        if task := task_in(event):
            self._states[task.id] = _word(task)
        elif event.HasField("removed"):
            self._states[event.removed.task_id or event.removed.submission_id] = "unknown"
        elif event.submission.state == types_pb2.SUBMISSION_STATE_NOT_STARTED:
            self._states[event.submission.id] = "not started"
        elif event.submission.state == types_pb2.SUBMISSION_STATE_UNDECIDED:
            self._states[event.submission.id] = "undecided"
        for resource in (
            event.submission.skipped_resources
            if event.submission.state != types_pb2.SUBMISSION_STATE_NOT_STARTED
            else ()
        ):
            self._states[f"{event.submission.id}/{resource.id}"] = "left out"

    @property
    def all_succeeded(self) -> bool:
        return set(self._states.values()) <= {"succeeded"}

    def summary(self) -> str:
        """Such as `3 succeeded, 1 failed`."""
        return (
            ", ".join(
                f"{number} {state}" for state, number in Counter(self._states.values()).items()
            )
            or "no task is running"
        )


class Lines:
    """A line for each change, for pipes and logs."""

    def __init__(self, out: TextIO) -> None:
        self._notes, self._out = Notes(), out

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is held."""

    def show(self, event: task_pb2.WatchTasksResponse) -> None:
        task = task_in(event)
        if text := (
            f"{task.id}  {title(task)}: {percent(task)} %, {state(task)}"
            if task
            else self._notes.new_in(event)
        ):
            print(text, file=self._out, flush=True)
