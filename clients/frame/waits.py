"""Work as the server with the script shows it, for the check `waits`: the stream of each submission
and of tasks by their ids.

| submission | what a wait for it must come to |
|---|---|
| `skipping` | ended: the task `good`; skipped: the resource `left-out`, code `BackupService.6125` |
| `failing` | failed: `bad`, code `BackupService.1204`, reason UPSTREAM_INTERNAL; ended: `good` |
| `nothing` | failed: no work was started, and nothing skipped |
| `lost` | failed: SUBMISSION_NOT_FOUND |
| `open` | never ends: its task `slow` runs |

Every task named by its id has succeeded. More than a hundred ids, and an id that comes twice, are
refused as the gateway refuses them.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from cbrgateway.v1 import task_pb2, types_pb2
from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, error_details_pb2, status_pb2

_Event = task_pb2.WatchTasksResponse
_MOST_IDS: Final = 100
_SNAPSHOT_END: Final = _Event(snapshot_end=task_pb2.TaskSnapshotEnd())
ENDED: Final = _Event(stream_end=task_pb2.StreamEnd(reason=task_pb2.STREAM_END_REASON_ALL_TERMINAL))


def _good(task_id: str = "good") -> _Event:
    task = task_pb2.Task(id=task_id, revision=1, status=task_pb2.TASK_STATUS_SUCCEEDED)
    return _Event(terminal=task_pb2.TaskUpdate(task=task))


def _bad() -> _Event:
    reason = Any()
    reason.Pack(error_details_pb2.ErrorInfo(reason="UPSTREAM_INTERNAL", domain="cbrgateway"))
    failure = status_pb2.Status(
        code=code_pb2.INTERNAL, message="The task failed in CBR.", details=[reason]
    )
    task = task_pb2.Task(
        id="bad",
        revision=1,
        status=task_pb2.TASK_STATUS_FAILED,
        error_info=task_pb2.TaskError(code="BackupService.1204", message="as the script says"),
        failure=failure,
    )
    return _Event(terminal=task_pb2.TaskUpdate(task=task))


def _submission(
    name: str,
    *task_ids: str,
    state: types_pb2.SubmissionState.ValueType = types_pb2.SUBMISSION_STATE_RESOLVED,
    skipped: Sequence[types_pb2.SkippedResource] = (),
) -> _Event:
    told = types_pb2.Submission(id=name, state=state, task_ids=task_ids, skipped_resources=skipped)
    return _Event(submission=told)


_LEFT_OUT: Final = types_pb2.SkippedResource(
    id="left-out", code="BackupService.6125", reason="as the script says"
)
_LOST: Final = task_pb2.TaskRemoval(
    submission_id="lost", reason=task_pb2.TASK_REMOVAL_REASON_NOT_FOUND
)
_SLOW: Final = task_pb2.Task(id="slow", revision=1, status=task_pb2.TASK_STATUS_RUNNING)
_WORK: Final = {
    "skipping": [
        _submission("skipping", state=types_pb2.SUBMISSION_STATE_CORRELATING),
        _SNAPSHOT_END,
        _submission("skipping", "good", skipped=[_LEFT_OUT]),
        _good(),
        ENDED,
    ],
    "failing": [_submission("failing", "bad", "good"), _bad(), _good(), _SNAPSHOT_END, ENDED],
    "nothing": [
        _submission("nothing", state=types_pb2.SUBMISSION_STATE_NOT_STARTED),
        _SNAPSHOT_END,
        ENDED,
    ],
    "lost": [_Event(removed=_LOST), _SNAPSHOT_END, ENDED],
    "open": [_submission("open", "slow"), _Event(snapshot_task=_SLOW), _SNAPSHOT_END],
}


def misnamed(wanted: task_pb2.TaskFilter) -> str:
    """Why the gateway would refuse the ids; empty: it would not."""
    for ids in (wanted.task_ids, wanted.submission_ids):
        if len(ids) > _MOST_IDS or len(ids) != len(set(ids)):
            return f"{len(ids)} ids, of which {len(set(ids))} differ"
    return ""


def named_work(wanted: task_pb2.TaskFilter) -> Iterator[_Event]:
    """The events of what the filter names. Where the last is not ENDED, the stream stays open."""
    if wanted.task_ids:
        yield from map(_good, wanted.task_ids)
        yield from (_SNAPSHOT_END, ENDED)
    streams = [_WORK[name] for name in wanted.submission_ids]
    for events in streams:
        yield from (event for event in events if event is not ENDED)
    if streams and all(events[-1] is ENDED for events in streams):
        yield ENDED
