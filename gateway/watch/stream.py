"""One stream of WatchTasks, from its first event to its end.

    start      wait until the table reaches back far enough; then the snapshot, or what has changed
               since the token
    live       what the subscription puts into the queue; heartbeats by their own timer, before
               anything else
    end        by the gateway, always with `stream_end`

Nothing is awaited between looking at the table and joining the subscription, so that nothing falls
between the two.
"""

from collections.abc import Callable, Iterable

from cbrgateway.v1 import task_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from msgspec import Struct

from gateway.clock import moment
from gateway.errors import GatewayError
from gateway.watch.backlog import Backlog, Statement
from gateway.watch.hub import Hub
from gateway.watch.resume import Cursor, by_age, expired
from gateway.watch.send_queue import SendQueue
from gateway.watch.stream_life import StreamLife, StreamTerms
from gateway.watch.subscription import Subscription, removal
from gateway.watch.table import NEVER

_Event = task_pb2.WatchTasksResponse


class Terms(Struct, frozen=True):
    """What one stream was asked for.

    `token` and `cursor`: where it goes on; empty and None for a new one. `stream`: what it has in
    common with all other streams.
    """

    stream: StreamTerms
    snapshot: bool
    until_terminal: bool
    fails_on_gap: bool
    token: str
    cursor: Cursor | None
    status_of: Callable[[GatewayError], status_pb2.Status]


class Watch:
    """One stream. `run` returns when the gateway has ended it in order."""

    # There are thousands of them.
    __slots__ = (
        *("_clock", "_cursor", "_healthy", "_hub", "_life", "_opened_at", "_queue"),
        *("_snapshot", "_subscription", "_terms"),
    )

    def __init__(
        self, hub: Hub, subscription: Subscription, queue: SendQueue, terms: Terms
    ) -> None:
        self._hub, self._subscription, self._queue, self._terms = hub, subscription, queue, terms
        self._clock = hub.clock
        self._cursor = terms.cursor if terms.cursor is not None and terms.cursor.begun else None
        self._snapshot = terms.snapshot
        token = terms.token or hub.tokens.start(subscription.owner)
        self._life = StreamLife(hub, queue, terms.stream, token)
        self._opened_at = self._clock.monotonic()
        self._healthy = True

    async def run(self) -> None:
        """Raises RESUME_TOKEN_EXPIRED or CALLER_TOO_SLOW."""
        if self._cursor is not None and self._hub.tokens.expired(self._cursor):
            await self._gap(self._cursor)
        await self._life.begin()
        while True:
            self._queue.wake.clear()
            if self._life.due and await self._life.ended():
                return
            failure = self._subscription.failure
            if self._life.beats():
                await self._beat()
            elif (failure is None) is not self._healthy:
                await self._tell_health(failure)
            elif not self._live:
                if not await self._started():
                    await self._life.rest()
            elif (event := self._queue.pop(self._subscription.token)) is not None:
                payload, self._life.token = event
                await self._life.write(payload)
            elif self._all_terminal():
                await self._life.end(task_pb2.STREAM_END_REASON_ALL_TERMINAL)
                return
            else:
                # Nothing waits, so that everything up to the last poll has been told.
                self._life.token = self._subscription.token
                await self._life.rest()

    # Steps
    # ----------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        lag = Duration()
        lag.FromMilliseconds(round((self._clock.monotonic() - self._subscription.read_at) * 1000))
        opened = self._subscription.open_rows() if self._live else []
        count = sum(self._subscription.selection.shows(row.task) for row in opened)
        beat = task_pb2.WatchHeartbeat(source_lag=lag, open_task_count=count)
        await self._life.send(heartbeat=beat)

    async def _tell_health(self, failure: GatewayError | None) -> None:
        self._healthy = failure is None
        status = task_pb2.SourceStatus(
            healthy=self._healthy,
            failure=self._terms.status_of(failure) if failure is not None else None,
        )
        await self._life.send(source_status=status)

    async def _started(self) -> bool:
        """Whether it has begun, or there was something to tell before that."""
        since_us, ids = self._reach()
        table = self._subscription.poller.table
        if self._subscription.poller.covers(since_us, ids) and not self._is_behind():
            self._begin()
        elif self._cursor is not None and since_us < table.floor_us:
            await self._gap(self._cursor)
        else:
            self._subscription.poller.want(since_us, ids, fresh=self._is_behind())
            return False
        return True

    def _is_behind(self) -> bool:
        """Whether to read once more before the stream begins.

        Either the token tells of more than this process has read, so that older states would be
        told again; or the stream is to end with tasks that nothing names, so that one begun since
        the last poll would be missed.
        """
        if self._subscription.read_at >= self._opened_at:
            return False
        if self._terms.until_terminal and not self._subscription.selection.by_id:
            return True
        return (
            self._cursor is not None
            and self._subscription.poller.table.newest_us < self._cursor.newest_us
        )

    # Starting
    # ----------------------------------------------------------------------------------------------

    @property
    def _live(self) -> bool:
        return self._queue in self._subscription.live

    def _reach(self) -> tuple[int, set[str]]:
        """Since when the table must be complete, and the ids that it must know, before the stream
        can begin.
        """
        ids = set(self._subscription.selection.ids)
        if self._subscription.selection.by_id:
            return NEVER, ids | set(self._cursor.open_tasks() if self._cursor is not None else ())
        if self._cursor is None:
            return NEVER - 1, ids
        return max(
            0, min(self._cursor.since_us, self._cursor.newest_us - self._hub.tokens.lag_us)
        ), ids | set(self._cursor.open_tasks())

    def _begin(self) -> None:
        if self._cursor is None:
            self._put(self._subscription.told_submissions())
            self._put(self._unknown_submissions())
            self._put_snapshot()
            self._put(self._subscription.told_unreadable(self._unreadable()))
        else:
            self._backlog(self._cursor).put_into(self._queue)
        self._subscription.begin(self._queue, self._reach()[1])

    def _put(self, statements: Iterable[Statement]) -> None:
        for each in statements:
            self._queue.put(each.key, each.event, self._life.token)

    def _removed(
        self, reason: task_pb2.TaskRemovalReason.ValueType, *, task_id: str = "", name: str = ""
    ) -> Statement:
        """`name`: of a submission."""
        gone = task_pb2.TaskRemoval(task_id=task_id, submission_id=name, reason=reason)
        event = removal(gone, moment(self._clock.time()))
        return Statement(f"removed {task_id or name}", event, gone=task_id)

    def _unknown_submissions(self) -> list[Statement]:
        return [
            self._removed(task_pb2.TASK_REMOVAL_REASON_NOT_FOUND, name=name)
            for name, each in self._subscription.submissions.items()
            if each is None
        ]

    def _put_snapshot(self) -> None:
        """The open tasks as they are.

        Named tasks that have ended come as `terminal`, so that nobody waits for their end.
        """
        count = 0
        for row in sorted(
            (
                self._subscription.rows()
                if self._subscription.selection.by_id
                else self._subscription.open_rows()
            ),
            key=by_age,
        ):
            if not self._subscription.selection.shows(row.task):
                continue
            if row.final:
                self._queue.put(row.id, row, self._life.token)
            elif self._snapshot:
                self._queue.put(f"snapshot {row.id}", row.snapshot(), self._life.token)
                count += 1
        unknown = self._subscription.selection.ids & self._subscription.poller.table.unknown
        self._put(
            self._removed(task_pb2.TASK_REMOVAL_REASON_NOT_FOUND, task_id=task_id)
            for task_id in sorted(unknown)
        )
        event = _Event(
            snapshot_end=task_pb2.TaskSnapshotEnd(task_count=count),
            observe_time=moment(self._clock.time()),
        )
        self._queue.put("snapshot", event.SerializeToString(), self._life.token)

    def _unreadable(self) -> list[str]:
        """Those of which nothing else can be told, so that nobody waits for them in silence."""
        asked = (*self._reach()[1], *(name for name, _ in self._subscription.unreadable()))
        known = self._subscription.poller.unreadable
        return [task_id for task_id in dict.fromkeys(asked) if task_id in known]

    def _backlog(self, cursor: Cursor) -> Backlog:
        """What the stream has not told before it broke."""
        subscription, table = self._subscription, self._subscription.poller.table
        statements = [
            self._removed(task_pb2.TASK_REMOVAL_REASON_GONE, task_id=task_id)
            for task_id in sorted(cursor.open_tasks().keys() & table.unknown)
        ]
        statements += subscription.told_submissions()
        statements += subscription.told_unreadable(self._unreadable())
        return Backlog(cursor, subscription.selection, table, self._hub.tokens, statements)

    async def _gap(self, cursor: Cursor) -> None:
        if self._terms.fails_on_gap:
            raise expired("a snapshot")
        since = Timestamp(
            seconds=cursor.newest_us // 1_000_000, nanos=cursor.newest_us % 1_000_000 * 1000
        )
        self._cursor, self._snapshot, self._life.token = (
            None,
            True,
            self._hub.tokens.start(self._subscription.owner),
        )
        reason = "The token is too old, or too much has happened since it was made."
        await self._life.send(gap=task_pb2.WatchGap(since_time=since, reason=reason))

    def _all_terminal(self) -> bool:
        """Whether it is to end with the last task, of which all has been told."""
        if (
            not self._terms.until_terminal
            or self._subscription.unresolved()
            or self._subscription.awaits()
        ):
            return False
        selection = self._subscription.selection
        return not any(
            selection.by_id or selection.shows(row.task) for row in self._subscription.open_rows()
        )
