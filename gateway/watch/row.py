"""One task as one poll saw it, with a revision made from what CBR says, so that every replica gives
a state the same number.
"""

import hashlib
from typing import Final

from cbrgateway.v1 import task_pb2
from google.protobuf.timestamp_pb2 import Timestamp

_FINAL: Final = frozenset(
    {
        task_pb2.TASK_STATUS_SUCCEEDED,
        task_pb2.TASK_STATUS_FAILED,
        task_pb2.TASK_STATUS_TIMED_OUT,
        task_pb2.TASK_STATUS_SKIPPED,
    }
)
_RANK_SHIFT: Final = 59
_MOMENT_SHIFT: Final = 7
_MOMENT_BITS: Final = _RANK_SHIFT - _MOMENT_SHIFT
_WAITING, _AT_WORK, _ENDED = range(3)
DIGEST_BYTES: Final = 6


def is_final(task: task_pb2.Task) -> bool:
    """Whether nothing will change any more, also for a state whose word is not known."""
    return task.status in _FINAL or task.HasField("end_time")


def revision_of(task: task_pb2.Task) -> int:
    """The number of a task's state: how far it is, then when it last changed, then its progress.

    A final state has one number for ever, whatever CBR touches afterwards. A change that moves
    neither the state nor the time of the last change nor the progress has no number of its own.
    """
    if is_final(task):
        return (
            _ENDED << _RANK_SHIFT
            | _bounded(_micros(task.end_time) or _micros(task.update_time)) << _MOMENT_SHIFT
        )
    rank = _WAITING if task.status == task_pb2.TASK_STATUS_WAITING else _AT_WORK
    progress = min(max(task.details.common.progress_percent, 0), 100)
    return rank << _RANK_SHIFT | _bounded(changed_us(task)) << _MOMENT_SHIFT | progress


def created_us(task: task_pb2.Task) -> int:
    """Microseconds since 1970 by CBR's clock."""
    return _micros(task.create_time)


def changed_us(task: task_pb2.Task) -> int:
    """When the task last changed, in microseconds since 1970, as far as CBR tells, by its clock."""
    return max(_micros(task.update_time), _micros(task.end_time), _micros(task.create_time))


def digest_of(text: bytes) -> bytes:
    """What resume tokens hold of what they do not spell out."""
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()


def _micros(moment: Timestamp) -> int:
    return moment.seconds * 1_000_000 + moment.nanos // 1000


def _bounded(micros: int) -> int:
    return min(max(micros, 0), (1 << _MOMENT_BITS) - 1)


class Row:
    """A task with what is asked of it often.

    Its events are encoded once, for all streams that send them.
    """

    __slots__ = (
        "_change",
        "_digest",
        "_observed",
        "_snapshot",
        "changed_us",
        "created_us",
        "final",
        "id",
        "revision",
        "task",
    )

    def __init__(self, task: task_pb2.Task, observed: Timestamp) -> None:
        self.task = task
        self.id: str = task.id
        self.revision = revision_of(task)
        self.final = is_final(task)
        self.created_us = created_us(task)
        self.changed_us = changed_us(task)
        task.revision = self.revision
        self._observed = observed
        self._snapshot: bytes | None = None
        self._change: bytes | None = None
        self._digest: bytes | None = None

    @property
    def digest(self) -> bytes:
        """Of the task in this state."""
        if self._digest is None:
            self._digest = digest_of(f"{self.id}/{self.revision}".encode())
        return self._digest

    def touch(self) -> None:
        """What the gateway adds to the task has changed."""
        self._snapshot = self._change = None

    def snapshot(self) -> bytes:
        """The event `snapshot_task` without what belongs to one stream."""
        if self._snapshot is None:
            self._snapshot = task_pb2.WatchTasksResponse(
                snapshot_task=self.task, observe_time=self._observed
            ).SerializeToString()
        return self._snapshot

    def change(self, coalesced: int) -> bytes:
        """The event `update` or `terminal` without what belongs to one stream.

        `coalesced`: states left out before this one.
        """
        if coalesced:
            return self._encoded(coalesced)
        if self._change is None:
            self._change = self._encoded(0)
        return self._change

    def _encoded(self, coalesced: int) -> bytes:
        event = task_pb2.WatchTasksResponse(observe_time=self._observed)
        told = event.terminal if self.final else event.update
        told.task.CopyFrom(self.task)
        told.coalesced_count = coalesced
        return event.SerializeToString()
