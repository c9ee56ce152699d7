"""One stream of WatchTasks, from its first event to its end.

    start      wait until the table reaches back far enough; then the snapshot, or what has changed since the token
    live       what the feed puts into the outbox; heartbeats by their own timer, before anything else
    end        by the gateway, always with `stream_end`

Nothing is awaited between looking at the table and joining the feed, so that nothing falls between the two.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from cbrgateway.v1 import errors_pb2, task_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2

from gateway.clock import moment
from gateway.errors import GatewayError
from gateway.tasks.feed import Feed, removal, told
from gateway.tasks.hub import Hub
from gateway.tasks.outbox import Outbox
from gateway.tasks.resume import Place, expired
from gateway.tasks.row import Row
from gateway.tasks.table import NEVER

_RETRY_SPREAD_S: Final = 5.0
_Event = task_pb2.WatchTasksResponse


@dataclass(frozen=True, slots=True)
class Terms:
    """What one stream was asked for.

    `token` and `place`: where it goes on; empty and None for a new one. `ends_at`: shortly before the caller's deadline, by the monotonic clock.
    `recheck`: in how many seconds to ask again; raises GatewayError when the caller may not watch any more.
    """

    snapshot: bool
    heartbeat_s: float
    until_terminal: bool
    fails_on_gap: bool
    token: str
    place: Place | None
    ends_at: float
    recheck: Callable[[], Awaitable[float]]
    write: Callable[[bytes], Awaitable[None]]
    status_of: Callable[[GatewayError], status_pb2.Status]


class Watch:
    """One stream. `run` returns when the gateway has ended it in order."""

    def __init__(self, hub: Hub, feed: Feed, outbox: Outbox, terms: Terms) -> None:
        self._hub, self._feed, self._outbox, self._terms = hub, feed, outbox, terms
        self._clock = hub.clock
        now = self._clock.monotonic()
        self._place = terms.place if terms.place is not None and terms.place.begun else None
        self._snapshot = terms.snapshot
        self._token = terms.token or hub.tokens.start(feed.owner)
        self._opened_at = now
        self._sequence = 0
        self._healthy = True
        self._heartbeat_at = now + terms.heartbeat_s
        self._lifetime_at = now + hub.settings.lifetime_s * random.uniform(0.9, 1.1)  # noqa: S311 - spreads load
        self._recheck_at = now + hub.settings.recheck_s

    async def run(self) -> None:
        """Raises RESUME_TOKEN_EXPIRED or CALLER_TOO_SLOW."""
        if self._place is not None and self._hub.tokens.expired(self._place):
            await self._gap(self._place)
        self._recheck_at = self._clock.monotonic() + await self._terms.recheck()
        while True:
            self._outbox.wake.clear()
            if await self._ended():
                return
            if not (await self._beaten() or await self._told_health() or await self._started() or await self._delivered()):
                if self._all_terminal():
                    await self._end(task_pb2.STREAM_END_REASON_ALL_TERMINAL)
                    return
                await self._rest()

    # Steps: each answers whether it did something --------------------------------------------------------------------------------------

    async def _ended(self) -> bool:
        now = self._clock.monotonic()
        if self._hub.ending:
            await self._end(task_pb2.STREAM_END_REASON_SHUTDOWN)
        elif now >= self._terms.ends_at:
            await self._end(task_pb2.STREAM_END_REASON_DEADLINE)
        elif now >= self._lifetime_at:
            await self._end(task_pb2.STREAM_END_REASON_LIFETIME)
        elif now < self._recheck_at:
            return False
        else:
            try:
                self._recheck_at = now + await self._terms.recheck()
            except GatewayError:
                await self._end(task_pb2.STREAM_END_REASON_CREDENTIALS)
            else:
                return False
        return True

    async def _beaten(self) -> bool:
        now = self._clock.monotonic()
        if now < self._heartbeat_at:
            return False
        self._heartbeat_at = max(self._heartbeat_at + self._terms.heartbeat_s, now)
        lag = Duration()
        lag.FromMilliseconds(round((now - self._feed.read_at) * 1000))
        opened = self._feed.open_rows() if self._live else []
        count = sum(self._feed.selection.shows(row.task) for row in opened)
        await self._send(_Event(heartbeat=task_pb2.WatchHeartbeat(source_lag=lag, open_task_count=count)))
        return True

    async def _told_health(self) -> bool:
        failure = self._feed.failure
        if (failure is None) is self._healthy:
            return False
        self._healthy = failure is None
        status = task_pb2.SourceStatus(healthy=self._healthy, failure=self._terms.status_of(failure) if failure is not None else None)
        await self._send(_Event(source_status=status))
        return True

    async def _started(self) -> bool:
        if self._live:
            return False
        since_us, ids = self._reach()
        table = self._feed.poller.table
        if self._feed.poller.covers(since_us, ids) and not self._is_behind():
            self._begin()
        elif self._place is not None and since_us < table.floor_us:
            await self._gap(self._place)
        else:
            self._feed.poller.want(since_us, ids, fresh=self._is_behind())
            return False
        return True

    def _is_behind(self) -> bool:
        """Whether to read once more before the stream begins.

        Either the token tells of more than this process has read, so that older states would be told again; or the stream is to end with tasks that
        nothing names, so that one begun since the last poll would be missed.
        """
        if self._feed.read_at >= self._opened_at:
            return False
        if self._terms.until_terminal and not self._feed.selection.by_id:
            return True
        return self._place is not None and self._feed.poller.table.newest_us < self._place.newest_us

    async def _delivered(self) -> bool:
        if not self._live:
            return False
        event = self._outbox.pop(self._feed.token)
        if event is None:
            return False
        payload, self._token = event
        await self._write(payload)
        return True

    async def _rest(self) -> None:
        if self._live:
            # Nothing waits, so that everything up to the last poll has been told.
            self._token = self._feed.token
        until = min(self._heartbeat_at, self._terms.ends_at, self._lifetime_at, self._recheck_at)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, until - self._clock.monotonic())):
                await self._outbox.wake.wait()

    # Starting ------------------------------------------------------------------------------------------------------------------------

    @property
    def _live(self) -> bool:
        return self._outbox in self._feed.live

    def _reach(self) -> tuple[int, set[str]]:
        """Since when the table must be complete, and the ids that it must know, before the stream can begin."""
        ids = set(self._feed.selection.ids)
        if self._feed.selection.by_id:
            return NEVER, ids | set(self._place.open_tasks() if self._place is not None else ())
        if self._place is None:
            return NEVER - 1, ids
        return max(0, min(self._place.since_us, self._place.newest_us - self._hub.tokens.lag_us)), ids | set(self._place.open_tasks())

    def _begin(self) -> None:
        for submission_id, submission in self._feed.submissions.items():
            if submission is not None:
                self._outbox.put(f"submission {submission_id}", told(submission, moment(self._clock.time())), self._token)
            elif self._place is None:
                removed = task_pb2.TaskRemoval(submission_id=submission_id, reason=task_pb2.TASK_REMOVAL_REASON_NOT_FOUND)
                self._outbox.put(f"removed {submission_id}", removal(removed, moment(self._clock.time())), self._token)
        if self._place is None:
            self._put_snapshot()
        else:
            self._put_changes(self._place)
        self._put_unreadable()
        self._feed.begin(self._outbox, self._reach()[1])

    def _put_snapshot(self) -> None:
        """The open tasks as they are. Named tasks that have ended come as `terminal`, so that nobody waits for their end."""
        count = 0
        for row in sorted(self._feed.rows() if self._feed.selection.by_id else self._feed.open_rows(), key=_by_age):
            if not self._feed.selection.shows(row.task):
                continue
            if row.final:
                self._outbox.put(row.id, row, self._token)
            elif self._snapshot:
                self._outbox.put(f"snapshot {row.id}", row.snapshot(), self._token)
                count += 1
        for task_id in sorted(self._feed.selection.ids & self._feed.poller.table.unknown):
            self._put_removal(task_id, task_pb2.TASK_REMOVAL_REASON_NOT_FOUND)
        event = _Event(snapshot_end=task_pb2.TaskSnapshotEnd(task_count=count), observe_time=moment(self._clock.time()))
        self._outbox.put("snapshot", event.SerializeToString(), self._token)

    def _put_unreadable(self) -> None:
        """Those of which nothing else can be told, so that nobody waits for them in silence."""
        for task_id in dict.fromkeys((*self._reach()[1], *(name for name, _ in self._feed.unreadable()))):
            if task_id in self._feed.poller.unreadable:
                key, event = self._feed.readability(task_id)
                self._outbox.put(key, event, self._token)

    def _put_changes(self, place: Place) -> None:
        """What the stream has not told before it broke."""
        opened, table = place.open_tasks(), self._feed.poller.table
        for row in sorted(self._feed.rows(), key=lambda row: row.changed_us):
            known = opened.get(row.id)
            if self._is_untold(row, known, place) and (known or self._feed.selection.shows(row.task)):
                self._outbox.put(row.id, row, self._token)
        for task_id in opened.keys() & table.unknown:
            self._put_removal(task_id, task_pb2.TASK_REMOVAL_REASON_GONE)

    def _is_untold(self, row: Row, known: int | None, place: Place) -> bool:
        """`known`: the revision of a task that was open; None: the token does not name it, so it had ended, or is newer, or did not fit."""
        if known is not None:
            return row.revision > known
        if not row.final:
            return True
        if self._feed.selection.submission_ids:
            # It may have become known late that the task belongs to the submission.
            return not place.has_told(row)
        return row.changed_us >= place.newest_us - self._hub.tokens.lag_us and not place.has_told(row)

    def _put_removal(self, task_id: str, reason: task_pb2.TaskRemovalReason.ValueType) -> None:
        self._outbox.put(f"removed {task_id}", removal(task_pb2.TaskRemoval(task_id=task_id, reason=reason), moment(self._clock.time())), self._token)

    async def _gap(self, place: Place) -> None:
        if self._terms.fails_on_gap:
            raise expired()
        since = Timestamp(seconds=place.newest_us // 1_000_000, nanos=place.newest_us % 1_000_000 * 1000)
        self._place, self._snapshot, self._token = None, True, self._hub.tokens.start(self._feed.owner)
        await self._send(_Event(gap=task_pb2.WatchGap(since_time=since, reason="The token is too old, or too much has happened since it was made.")))

    # Ending --------------------------------------------------------------------------------------------------------------------------

    def _all_terminal(self) -> bool:
        if not (self._terms.until_terminal and self._live) or len(self._outbox) or self._feed.unresolved() or self._feed.awaits():
            return False
        selection = self._feed.selection
        return not any(selection.by_id or selection.shows(row.task) for row in self._feed.open_rows())

    async def _end(self, reason: task_pb2.StreamEndReason.ValueType) -> None:
        end = task_pb2.StreamEnd(reason=reason)
        if reason == task_pb2.STREAM_END_REASON_SHUTDOWN:
            end.retry_delay.FromMilliseconds(round(random.uniform(0, _RETRY_SPREAD_S) * 1000))  # noqa: S311 - spreads load
        await self._send(_Event(stream_end=end))

    # Sending -------------------------------------------------------------------------------------------------------------------------

    async def _send(self, event: task_pb2.WatchTasksResponse) -> None:
        event.observe_time.CopyFrom(moment(self._clock.time()))
        await self._write(event.SerializeToString())

    async def _write(self, shared: bytes) -> None:
        """Sends an event. Messages behind one another are one message to protobuf, so that what all streams share is encoded once."""
        self._sequence += 1
        own = _Event(resume_token=self._token, sequence=self._sequence).SerializeToString()
        try:
            async with asyncio.timeout(self._hub.settings.stall_s):
                await self._terms.write(shared + own)
        except TimeoutError:
            text = "The caller has read nothing for too long; read faster or watch fewer tasks, and resume with the last token."
            raise GatewayError(errors_pb2.ERROR_REASON_CALLER_TOO_SLOW, text) from None


def _by_age(row: Row) -> tuple[int, str]:
    return row.created_us, row.id


def ends_at(now: float, time_left_s: float | None) -> float:
    """When to end what has a deadline: a second before it, or at half of a short one."""
    return math.inf if time_left_s is None else now + max(time_left_s - 1.0, time_left_s / 2)
