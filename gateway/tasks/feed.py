"""What one poll means for all streams with the same filter: worked out once, put into the outbox of each."""

from typing import Final

from cbrgateway.v1 import task_pb2, types_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.tasks.outbox import Outbox
from gateway.tasks.poller import Poller
from gateway.tasks.resume import ResumeTokens
from gateway.tasks.row import Row
from gateway.tasks.selection import Selection
from gateway.tasks.table import NEVER, Change, News

_UNRESOLVED: Final = frozenset({types_pb2.SUBMISSION_STATE_CORRELATING, types_pb2.SUBMISSION_STATE_OUTCOME_UNKNOWN})


class Feed:
    """The streams of one tenant and project with one filter. `starting`: those that wait for the table to reach back far enough."""

    def __init__(self, poller: Poller, selection: Selection, owner: bytes, tokens: ResumeTokens) -> None:
        self.poller = poller
        self.selection = selection
        self.owner = owner
        self.live: set[Outbox] = set()
        self.starting: set[Outbox] = set()
        self.submissions: dict[str, types_pb2.Submission | None] = {}
        """Those that the filter names, as far as they have been looked up; None: there is no such one."""
        self._tokens = tokens
        self._awaited: set[str] = set()
        self._token = ""
        self._healthy = poller.failure is None
        self._stale = True

    @property
    def token(self) -> str:
        """The token of a stream that has told everything up to the last poll."""
        if self._stale:
            self._token = self._tokens.make(self.owner, self.selection, self.poller.table)
            self._stale = False
        return self._token

    def rows(self) -> list[Row]:
        """What is meant, of all that is known."""
        return self.selection.among(self.poller.table.rows)

    def open_rows(self) -> list[Row]:
        return self.selection.among(self.poller.table.open)

    def unresolved(self) -> bool:
        """Whether a submission may still get tasks."""
        return any(each is not None and each.state in _UNRESOLVED for each in self.submissions.values())

    def awaits(self) -> bool:
        """Whether a task of a submission is still to be read."""
        return bool(self._awaited)

    def learn(self, submission_id: str, submission: types_pb2.Submission | None) -> None:
        """A submission that the filter names is told for the first time, or has changed. None: there is no such one."""
        self.submissions[submission_id] = submission
        for outbox in self.starting:
            outbox.wake.set()
        if submission is None:
            return
        if submission.state in _UNRESOLVED:
            self.poller.nudge()
        before = self._token
        self.put(f"submission {submission_id}", told(submission, self.poller.now()), before)
        for task_id in set(submission.task_ids) - self.selection.ids:
            self.selection.ids.add(task_id)
            self._awaited.add(task_id)
        self._tell_awaited(before)
        self._stale = True
        if self._awaited:
            self.poller.want(NEVER - 1, self._awaited)

    def begin(self, outbox: Outbox) -> None:
        """From now on the outbox gets what changes; what was before is in it."""
        # Made now, so that it tells of nothing later than what the outbox holds.
        assert self.token
        self.starting.discard(outbox)
        self.live.add(outbox)

    def take(self, news: News) -> None:
        """A listener of the poller."""
        # Until now nothing has happened here since the token was made, so that it still tells where the streams are.
        before = self._token
        self._stale = True
        self._tell(news, before)
        self._tell_awaited(before)
        healthy = self.poller.failure is None
        for outbox in (self.live | self.starting) if healthy is not self._healthy else self.starting:
            outbox.wake.set()
        self._healthy = healthy

    def _tell(self, news: News, before: str) -> None:
        for change in news.changes:
            self._awaited.discard(change.row.id)
            if self._concerns(change):
                self.put(change.row.id, change.row, before)
        for row in news.gone:
            if self.selection.selects(row.task):
                removed = task_pb2.TaskRemoval(task_id=row.id, reason=task_pb2.TASK_REMOVAL_REASON_GONE)
                self.put(f"removed {row.id}", removal(removed, self.poller.now()), before)

    def _tell_awaited(self, before: str) -> None:
        """Tasks of submissions that were known before it was known whose they are, or that have been read since."""
        for task_id in sorted(self._awaited & self.poller.table.rows.keys()):
            row = self.poller.table.rows[task_id]
            self._awaited.discard(task_id)
            if self.selection.selects(row.task) and self.selection.shows(row.task):
                self.put(task_id, row, before)
        for task_id in sorted(self._awaited & self.poller.table.unknown):
            self._awaited.discard(task_id)
            removed = task_pb2.TaskRemoval(task_id=task_id, reason=task_pb2.TASK_REMOVAL_REASON_NOT_FOUND)
            self.put(f"removed {task_id}", removal(removed, self.poller.now()), before)

    def _concerns(self, change: Change) -> bool:
        if not self.selection.selects(change.row.task):
            return False
        return self.selection.shows(change.row.task) or (change.before is not None and self.selection.shows(change.before.task))

    def put(self, key: str, item: Row | bytes, before: str) -> None:
        """Into the outbox of every stream that has begun."""
        for outbox in self.live:
            outbox.put(key, item, before)


def told(submission: types_pb2.Submission, observed: Timestamp) -> bytes:
    """The event `submission` without what belongs to one stream."""
    return task_pb2.WatchTasksResponse(submission=submission, observe_time=observed).SerializeToString()


def removal(removed: task_pb2.TaskRemoval, observed: Timestamp) -> bytes:
    """The event `removed` without what belongs to one stream."""
    return task_pb2.WatchTasksResponse(removed=removed, observe_time=observed).SerializeToString()
