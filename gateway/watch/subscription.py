"""What one poll means for all streams with the same filter: worked out once, queued for each."""

from collections.abc import Iterable
from typing import Final

from cbrgateway.v1 import task_pb2, types_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.errors import GatewayError
from gateway.upstream.losses import as_told
from gateway.watch.backlog import Statement
from gateway.watch.poller import Poller
from gateway.watch.resume import ResumeTokens
from gateway.watch.row import Row, digest_of
from gateway.watch.selection import Selection
from gateway.watch.send_queue import SendQueue
from gateway.watch.table import NEVER, Change, News
from gateway.watch.unreadable import Unreadable

_UNRESOLVED: Final = frozenset(
    {types_pb2.SUBMISSION_STATE_CORRELATING, types_pb2.SUBMISSION_STATE_OUTCOME_UNKNOWN}
)


class Subscription:
    """The streams of one tenant and project with one filter, whose callers may see as much.

    `hidden`: kinds of objects of which they are told no more than that there are some. `starting`:
    those that wait for the table to reach back far enough.
    """

    def __init__(
        self,
        poller: Poller,
        selection: Selection,
        owner: bytes,
        tokens: ResumeTokens,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.poller, self.selection, self.owner, self.hidden = poller, selection, owner, hidden
        self.live: set[SendQueue] = set()
        self.starting: set[SendQueue] = set()
        self.submissions: dict[str, types_pb2.Submission | None] = {}
        """Those that the filter names, as far as looked up; None: there is no such one."""
        self._tokens = tokens
        self._awaited: set[str] = set()
        self._token = ""
        self._healthy = self.failure is None
        self._stale = True

    @property
    def token(self) -> str:
        """The token of a stream that has told everything up to the last poll."""
        if self._stale:
            unread = self.told_unreadable(task_id for task_id, _ in self.unreadable())
            said = [each.digest for each in (*self.told_submissions(), *unread)]
            self._token = self._tokens.make(self.owner, self.selection, self.poller.table, said)
            self._stale = False
        return self._token

    def rows(self) -> list[Row]:
        """What is meant, of all that is known."""
        return self.selection.among(self.poller.table.rows)

    def open_rows(self) -> list[Row]:
        return self.selection.among(self.poller.table.open)

    @property
    def failure(self) -> GatewayError | None:
        """Why CBR cannot be read for this filter; None while it can, but for single tasks."""
        if not self.selection.by_id or self.unresolved():
            return self.poller.failure
        rows = self.poller.table.rows
        waits = any(
            task_id not in rows or not rows[task_id].final for task_id in self.selection.ids
        )
        return self.poller.failure if self.poller.outages and waits else None

    @property
    def read_at(self) -> float:
        """How old the newest knowledge is, by the monotonic clock."""
        return self.poller.read_at if self.selection.by_id else self.poller.listed_at

    def unreadable(self) -> list[tuple[str, Unreadable]]:
        """The tasks that are meant, or may be, and cannot be read."""
        rows = self.poller.table.rows
        return [
            (task_id, each)
            for task_id, each in self.poller.unreadable.items()
            if self._follows(task_id, rows.get(task_id))
        ]

    def told_submissions(self) -> list[Statement]:
        """What there is to tell of each that there is."""
        return [
            Statement(
                f"submission {name}",
                told(each, self.poller.now()),
                digest_of(each.SerializeToString(deterministic=True)),
            )
            for name, each in self.submissions.items()
            if each is not None
        ]

    def told_unreadable(self, ids: Iterable[str]) -> list[Statement]:
        """The same of tasks that cannot be read."""
        events = map(self.readability, ids)
        return [Statement(key, event, digest_of(key.encode())) for key, event in events]

    def unresolved(self) -> bool:
        """Whether a submission may still get tasks."""
        return any(
            each is not None and each.state in _UNRESOLVED for each in self.submissions.values()
        )

    def awaits(self) -> bool:
        """Whether a task of a submission is still to be read."""
        return bool(self._awaited)

    def learn(self, submission_id: str, submission: types_pb2.Submission | None) -> None:
        """A submission that the filter names is told for the first time, or has changed.

        None: there is no such one.
        """
        if submission is not None:
            submission = as_told(submission, self.hidden)
        self.submissions[submission_id] = submission
        for queue in self.starting:
            queue.wake.set()
        if submission is None:
            return
        if submission.state in _UNRESOLVED:
            self.poller.nudge()
        before = self._token
        self.put(f"submission {submission_id}", told(submission, self.poller.now()), before)
        for task_id in sorted(set(submission.task_ids) - self.selection.ids):
            self.selection.ids.add(task_id)
            self._awaited.add(task_id)
            if task_id in self.poller.unreadable:
                self.put(*self.readability(task_id), before)
        self._tell_awaited(before)
        self._stale = True
        if self._awaited:
            self.poller.want(NEVER - 1, self._awaited)

    def begin(self, queue: SendQueue, ids: Iterable[str]) -> None:
        """From now on the queue gets what changes; what was before is in it.

        `ids`: tasks that it has to tell of.
        """
        self._awaited.update(
            task_id
            for task_id in ids
            if task_id in self.poller.unreadable and not self.poller.unreadable.given_up(task_id)
        )
        # Made now, so that it tells of nothing later than what the queue holds.
        assert self.token
        self.starting.discard(queue)
        self.live.add(queue)

    def take(self, news: News) -> None:
        """A listener of the poller."""
        # Until now nothing has happened here since the token was made, so that it still tells where
        # the streams are.
        before = self._token
        self._stale = True
        self._tell(news, before)
        self._tell_awaited(before)
        healthy = self.failure is None
        for queue in (self.live | self.starting) if healthy is not self._healthy else self.starting:
            queue.wake.set()
        self._healthy = healthy

    def _tell(self, news: News, before: str) -> None:
        for change in news.changes:
            self._awaited.discard(change.row.id)
            if self._concerns(change):
                self.put(change.row.id, change.row, before)
        for row in news.gone:
            if self.selection.selects(row.task):
                removed = task_pb2.TaskRemoval(
                    task_id=row.id, reason=task_pb2.TASK_REMOVAL_REASON_GONE
                )
                self.put(f"removed {row.id}", removal(removed, self.poller.now()), before)
        for task_id, known in news.readable.items():
            if self._follows(task_id, known):
                self.put(*self.readability(task_id), before)

    def _tell_awaited(self, before: str) -> None:
        """Tasks of submissions that were known before it was known whose they are, or that have
        been read since.
        """
        for task_id in sorted(self._awaited & self.poller.table.rows.keys()):
            row = self.poller.table.rows[task_id]
            self._awaited.discard(task_id)
            if self.selection.selects(row.task) and self.selection.shows(row.task):
                self.put(task_id, row, before)
        for task_id in sorted(self._awaited & self.poller.table.unknown):
            self._awaited.discard(task_id)
            removed = task_pb2.TaskRemoval(
                task_id=task_id, reason=task_pb2.TASK_REMOVAL_REASON_NOT_FOUND
            )
            self.put(f"removed {task_id}", removal(removed, self.poller.now()), before)
        for task_id in [each for each in self._awaited if self.poller.unreadable.given_up(each)]:
            self._awaited.discard(task_id)
            self.put(*self.readability(task_id), before)

    def _follows(self, task_id: str, row: Row | None) -> bool:
        """Whether a task is, or may be, one of those that are meant. `row`: what is known of it."""
        if self.selection.by_id or task_id in self._awaited:
            return task_id in self.selection.ids or task_id in self._awaited
        if row is not None:
            return self.selection.selects(row.task)
        found = self.poller.unreadable.get(task_id)
        return found is not None and found.listed

    def readability(self, task_id: str) -> tuple[str, bytes]:
        """The event that tells whether a task can be read, and its key."""
        found = self.poller.unreadable.get(task_id)
        failure = self.poller.source.status_of(found.failure) if found is not None else None
        if found is not None and found.given_up:
            removed = task_pb2.TaskRemoval(
                task_id=task_id, reason=task_pb2.TASK_REMOVAL_REASON_UNREADABLE, failure=failure
            )
            return f"removed {task_id}", removal(removed, self.poller.now())
        status = task_pb2.SourceStatus(healthy=found is None, failure=failure, task_id=task_id)
        event = task_pb2.WatchTasksResponse(source_status=status, observe_time=self.poller.now())
        return f"source {task_id}", event.SerializeToString()

    def _concerns(self, change: Change) -> bool:
        if not self.selection.selects(change.row.task):
            return False
        return self.selection.shows(change.row.task) or (
            change.before is not None and self.selection.shows(change.before.task)
        )

    def put(self, key: str, item: Row | bytes, before: str) -> None:
        """Into the queue of every stream that has begun."""
        for queue in self.live:
            queue.put(key, item, before)


def told(submission: types_pb2.Submission, observed: Timestamp) -> bytes:
    """The event `submission` without what belongs to one stream."""
    return task_pb2.WatchTasksResponse(
        submission=submission, observe_time=observed
    ).SerializeToString()


def removal(removed: task_pb2.TaskRemoval, observed: Timestamp) -> bytes:
    """The event `removed` without what belongs to one stream."""
    return task_pb2.WatchTasksResponse(removed=removed, observe_time=observed).SerializeToString()
