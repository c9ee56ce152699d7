"""Tells the end of each task of a project once, whichever replica polls it.

How far that has come is a cursor in the store, read before a poll and written after its ends are
told. So a process that dies between the two lets the next one tell them again, and what ended while
nobody polled is caught up by the first poll after that.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec
import structlog
from cbrgateway.v1 import task_pb2

from gateway.clock import Clock
from gateway.state import SingleKeyValue, StoreDown
from gateway.watch.row import Row
from gateway.watch.settings import WatchSettings
from gateway.watch.table import News, Table

_WITHIN_S: Final = 3.0
"""How long those who hear of ends may keep a poll."""
_MOST_OPEN: Final = 5000
_LATE: Final = 3
"""A cursor that is older than so many idle intervals means that nobody polled."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class EndedTask(msgspec.Struct, frozen=True):
    """`task`: as CBR shows it, with the gateway's own fields; where it is `gone`, since CBR does
    not know it any more, as this process has last seen it, or only its id. `caught_up`: it ended
    while no gateway polled.
    """

    project: str
    task: task_pb2.Task
    gone: bool
    caught_up: bool


OnEnd = Callable[[EndedTask], Awaitable[bool]]
"""Hears of the end of a task; False: not yet, since something about it is still being found out."""


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """Told are all ends before `floor_us`, by CBR's clock, but for those of the tasks in `opened`;
    and later ones that are in `ended`, by id and when.

    `made`: in seconds since 1970 by our clock.
    """

    made: float
    floor_us: int
    opened: tuple[str, ...] = ()
    ended: dict[str, int] = {}

    def tells_of(self, row: Row) -> bool:
        return row.id in self.ended or (
            row.changed_us < self.floor_us and row.id not in self.opened
        )


class Ends:
    """Those of one project. `began`: when this process did, by the monotonic clock."""

    def __init__(
        self,
        project: str,
        cursors: SingleKeyValue,
        clock: Clock,
        settings: WatchSettings,
        *,
        on_end: OnEnd,
        began: float,
    ) -> None:
        self._project, self._cursors, self._clock, self._on_end = project, cursors, clock, on_end
        self._settings, self._began = settings, began
        self._cursor: Cursor | None = None
        self._stored = b""
        """What this process has last read or written."""
        self._mine: dict[str, None] = {}
        """Told by this process, which counts also where the store has forgotten it."""
        self._fresh: dict[str, Row] = {}
        """What polls have shown since ends were last told."""
        self._gone: dict[str, Row] = {}
        """Tasks that were open and are not there any more, as they were."""
        self.waiting = False
        """Whether an end is known that could not be told yet."""

    def take(self, news: News) -> None:
        """A listener of the poller."""
        self._fresh |= {change.row.id: change.row for change in news.changes if change.row.final}
        self._gone |= {row.id: row for row in news.gone}
        for shown in (self._fresh, self._gone):
            _shorten(shown, self._settings.keep_tasks)

    async def recall(self) -> Cursor | None:
        """How far ends were told by now: the next poll must reach back to there."""
        try:
            stored = await self._cursors.get(self._project)
        except StoreDown:
            return self._cursor
        if stored and stored != self._stored:
            self._cursor = _read(stored, self._project) or self._cursor
        self._stored = stored
        return self._cursor

    async def tell(self, table: Table, now_us: int, *, whole: bool) -> None:
        """Tells what the table shows and was not told.

        `now_us`: CBR's time. `whole`: the poll has listed everything, so that what it has not shown
        has not ended.
        """
        now = self._clock.time()
        # In the first life of all, what ended before it is nobody's news.
        began_us = now_us - round((self._clock.monotonic() - self._began) * 1e6)
        cursor = self._cursor or Cursor(now, began_us)
        caught_up = now - cursor.made > _LATE * self._settings.idle_s
        if caught_up and whole and table.low_watermark_us > cursor.floor_us:
            log.warning(
                "ends of tasks from while no gateway polled may be missing: there were too many",
                project=self._project,
            )
        due = self._untold(table, cursor)
        told = await self._told(due, caught_up=caught_up)
        self.waiting = len(told) < len(due)
        self._mine |= dict.fromkeys(told)
        _shorten(self._mine, self._settings.keep_tasks)
        self._fresh = {task_id: row for task_id, row in due.items() if row and task_id not in told}
        # Not by a moment that only one strange row tells.
        latest_us = min(table.newest_us, now_us)
        floor_us = max(cursor.floor_us, latest_us - self._settings.lag_us if whole else 0)
        await self._keep(self._newer(table, cursor, due, told, floor_us))

    def _untold(self, table: Table, cursor: Cursor) -> dict[str, Row | None]:
        """None: the task is gone."""
        rows = {**table.rows, **self._fresh}
        ended: dict[str, Row | None] = {
            task_id: row for task_id, row in rows.items() if row.final and not cursor.tells_of(row)
        }
        gone = {task_id: None for task_id in cursor.opened if task_id in table.unknown}
        return {
            task_id: row for task_id, row in (ended | gone).items() if task_id not in self._mine
        }

    async def _told(self, due: Mapping[str, Row | None], *, caught_up: bool) -> set[str]:
        """Those that were told; the others are told again after the next poll.

        What happened to one vault is told in order, since it may depend on each other.
        """
        if not due:
            return set()
        told: set[str] = set()

        async def tell(ids: Sequence[str]) -> None:
            for task_id in ids:
                if await self._tell_one(task_id, due[task_id], caught_up=caught_up):
                    told.add(task_id)

        telling = [asyncio.create_task(tell(ids)) for ids in self._in_order(due)]
        _, late = await asyncio.wait(telling, timeout=_WITHIN_S)
        if late:
            log.warning("ends of tasks could not be told in time", project=self._project)
            for task in late:
                task.cancel()
            await asyncio.wait(late)
        return told

    def _in_order(self, due: Mapping[str, Row | None]) -> Collection[Sequence[str]]:
        """The ids of each vault, or of a task without one, by when they ended, and then by id."""
        groups: dict[str, list[str]] = defaultdict(list)
        known = {task_id: row or self._gone.get(task_id) for task_id, row in due.items()}
        for task_id in sorted(due, key=lambda each: (_ended(known[each]), each)):
            row = known[task_id]
            groups[(row.task.vault_id if row is not None else "") or task_id].append(task_id)
        return groups.values()

    async def _tell_one(self, task_id: str, row: Row | None, *, caught_up: bool) -> bool:
        known = row or self._gone.get(task_id)
        task = known.task if known is not None else task_pb2.Task(id=task_id)
        end = EndedTask(self._project, task, gone=row is None, caught_up=caught_up)
        try:
            return await self._on_end(end)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others are told
            log.warning(
                "the end of a task could not be told; it is told again after the next poll",
                project=self._project,
                task=task_id,
                error=repr(error),
            )
            return False

    def _newer(
        self,
        table: Table,
        cursor: Cursor,
        due: Mapping[str, Row | None],
        told: set[str],
        floor_us: int,
    ) -> Cursor:
        ended = cursor.ended | {
            task_id: row.changed_us for task_id in told if (row := due[task_id]) is not None
        }
        # Open when they were last seen, and not read since.
        unseen = (
            task_id
            for task_id in cursor.opened
            if task_id not in table.rows and task_id not in told and task_id not in self._mine
        )
        opened = dict.fromkeys((*table.open, *unseen, *(due.keys() - told)))
        ended = {task_id: at_us for task_id, at_us in ended.items() if at_us >= floor_us}
        if len(ended) > self._settings.keep_tasks:
            floor_us = sorted(ended.values())[-self._settings.keep_tasks]
            ended = {task_id: at_us for task_id, at_us in ended.items() if at_us >= floor_us}
        return Cursor(self._clock.time(), floor_us, tuple(opened)[:_MOST_OPEN], ended)

    async def _keep(self, newer: Cursor) -> None:
        before, self._cursor = self._cursor, newer
        if before is not None and self._stored:
            unchanged = msgspec.structs.replace(newer, made=before.made) == before
            if unchanged and newer.made - before.made < self._settings.idle_s:
                self._cursor = before
                return
        stored = msgspec.msgpack.encode(newer)
        try:
            await self._cursors.put(self._project, stored)
        except StoreDown:
            return
        self._stored = stored


def _ended(row: Row | None) -> int:
    return row.revision if row is not None else 0


def _shorten(items: dict[str, Row] | dict[str, None], most: int) -> None:
    for oldest in list(items)[: max(0, len(items) - most)]:
        del items[oldest]


def _read(stored: bytes, project: str) -> Cursor | None:
    try:
        return msgspec.msgpack.decode(stored, type=Cursor)
    except msgspec.DecodeError:
        log.warning(
            "how far ends of tasks were told cannot be understood; was it written by another"
            " version?",
            project=project,
        )
        return None
