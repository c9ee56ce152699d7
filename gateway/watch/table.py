"""What is known of a project's tasks, and what each poll changed of it.

Pure: nothing here reads, waits or sends.

The table is complete for the tasks that were created at or after its low watermark. Of older ones
it holds those that are open and those that somebody asked for by id.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from cbrgateway.v1 import task_pb2
from msgspec import Struct, field

from gateway.watch.row import Row, revision_of

NEVER: Final = 2**62
"""A moment after all others, in microseconds."""
_LOOKS: Final = 2
"""In how many polls an id must be absent before it counts as gone: one may have been answered by a
server that lags behind.
"""


class Change(Struct, frozen=True):
    """A task in a new state. `before`: its row until then; None for a task that is new."""

    row: Row
    before: Row | None


class News(Struct, frozen=True):
    """What one poll brought, in the order in which it happened.

    `gone`: rows of tasks that were open and are not there any more; `unknown`: ids asked for that
    CBR does not know; `readable`: by id, the rows of tasks of which it has changed whether they can
    be read, None where nothing is known of one.
    """

    changes: tuple[Change, ...] = ()
    gone: tuple[Row, ...] = ()
    unknown: frozenset[str] = frozenset()
    readable: Mapping[str, Row | None] = field(default_factory=dict)


class Listing(Struct, frozen=True):
    """What one poll read.

    `absent`: ids that CBR denied. `cut`: there was more than can be kept, so that nothing older can
    ever be complete.

    `complete_since_us` is NEVER where only single tasks were read.
    """

    tasks: Sequence[task_pb2.Task]
    absent: Collection[str]
    complete_since_us: int
    cut: bool = False


class Table:
    """All rows of one project.

    `capacity`: how many final ones are kept, and as many older than the low watermark; `lag_us`:
    how late CBR may list a task.
    """

    def __init__(self, capacity: int, lag_us: int) -> None:
        self._capacity = capacity
        self._lag_us = lag_us
        self._recent: tuple[Row, ...] | None = None
        self.rows: dict[str, Row] = {}
        self.open: dict[str, Row] = {}
        self.unknown: set[str] = set()
        self.low_watermark_us = NEVER
        self.floor_us = 0
        """What is older than this was too much to keep: the low watermark cannot get there."""
        self.newest_us = 0
        """The latest moment at which a task changed, by CBR's clock."""
        self.latest_us = 0
        """The latest moment at which a task was created, by CBR's clock."""
        self._absent: dict[str, int] = {}

    def covers(self, since_us: int, ids: Iterable[str]) -> bool:
        """Whether all that was created since then, and every id, is known as far as CBR tells."""
        return self.low_watermark_us <= since_us and all(
            task_id in self.rows or task_id in self.unknown for task_id in ids
        )

    def apply(self, rows: Iterable[Row], listing: Listing) -> News:
        """Takes in one poll. `rows`: of its tasks those that are new or newer."""
        self._recent = None
        changes = []
        for row in sorted(rows, key=lambda row: (row.changed_us, row.id)):
            before = self.rows.get(row.id)
            self._absent.pop(row.id, None)
            self.unknown.discard(row.id)
            if before is not None and row.revision <= before.revision:
                continue
            self._put(row)
            # A final task that is older than all that was complete is history, not news.
            if before is not None or not row.final or row.created_us >= self.low_watermark_us:
                changes.append(Change(row, before))
        gone, unknown = self._deny(listing.absent)
        self.low_watermark_us = max(
            min(self.low_watermark_us, listing.complete_since_us), self.floor_us
        )
        if listing.cut:
            self.floor_us = self.low_watermark_us
        self._trim()
        return News(tuple(changes), gone, unknown)

    def drop(self, task_id: str) -> None:
        """Nobody is to wait for a task any more that was open."""
        if self.open.pop(task_id, None) is not None:
            del self.rows[task_id]

    def _put(self, row: Row) -> None:
        self.rows[row.id] = row
        self.newest_us = max(self.newest_us, row.changed_us)
        self.latest_us = max(self.latest_us, row.created_us)
        if row.final:
            self.open.pop(row.id, None)
        else:
            self.open[row.id] = row

    def _deny(self, absent: Collection[str]) -> tuple[tuple[Row, ...], frozenset[str]]:
        self._absent = {task_id: self._absent.get(task_id, 0) + 1 for task_id in absent}
        denied = [task_id for task_id, looks in self._absent.items() if looks >= _LOOKS]
        gone = []
        for task_id in denied:
            row = self.rows.pop(task_id, None)
            self.open.pop(task_id, None)
            self.unknown.add(task_id)
            del self._absent[task_id]
            if row is not None:
                gone.append(row)
        return tuple(gone), frozenset(denied) - {row.id for row in gone}

    def is_news(self, task: task_pb2.Task) -> bool:
        """Whether the task is in a newer state than the one that is known."""
        known = self.rows.get(task.id)
        return known is None or revision_of(task) > known.revision

    @property
    def recent(self) -> tuple[Row, ...]:
        """Ended tasks that changed so lately that CBR may not have listed all of their time."""
        if self._recent is None:
            since_us = self.newest_us - self._lag_us
            self._recent = tuple(
                row for row in self.rows.values() if row.final and row.changed_us >= since_us
            )
        return self._recent

    @property
    def doubtful(self) -> Collection[str]:
        """Ids that were absent once and are to be looked for again."""
        return self._absent

    def _trim(self) -> None:
        if len(self.unknown) > self._capacity:
            self.unknown.clear()
        if len(self.rows) - len(self.open) <= self._capacity:
            return
        final = [row for row in self.rows.values() if row.final]
        # Those that somebody asked for by id are as old as they like: the new ones do not push them
        # out.
        asked = [row for row in final if row.created_us < self.low_watermark_us]
        for row in asked[: max(0, len(asked) - self._capacity)]:
            del self.rows[row.id]
        complete = sorted(
            (row for row in final if row.created_us >= self.low_watermark_us),
            key=lambda row: row.created_us,
        )
        oldest = complete[: max(0, len(complete) - self._capacity)]
        for row in oldest:
            del self.rows[row.id]
        if oldest:
            self.floor_us = self.low_watermark_us = oldest[-1].created_us + 1
