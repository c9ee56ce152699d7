"""All asynchronous changes of each project as the store has them, of every replica: parsed when
they change, and found by the tasks they may own.

Whoever compares a change with others calls `sync` after it has read tasks: whoever started one of
these through any gateway is then known.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import structlog
from cbrgateway.v1 import errors_pb2
from msgspec import field
from msgspec.structs import replace

from gateway.changes.correlation import ALWAYS, Claim, Hits, hits
from gateway.changes.matching import Index, keys_of
from gateway.changes.record import Note, OperationDetail, claim
from gateway.changes.search import listed_since, search_of
from gateway.errors import GatewayError
from gateway.state import OPEN, OperationStore, OperationView, State
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.remote_clock import RemoteClock, latest
from gateway.upstream.task_search import Search, Task, subjects_of

_BEFORE_S: Final = 120.0
"""Tasks that began up to this long before a change tell how late CBR lists them."""
_LEAST: Final = 1000
"""So many of a project are kept without asking whether they are still needed."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Entry(msgspec.Struct, frozen=True):
    """One change.

    `op` is without its detail, which is the trace; `search`: what its tasks look like as far as
    that is known.
    """

    op: OperationView
    trace: OperationDetail
    note: Note | None
    search: Search

    def claim(self, clock: RemoteClock) -> Claim:
        return claim(self.op, self.trace, self.note, self.search, clock)

    @property
    def sought(self) -> bool:
        """Whether its tasks are to be found out."""
        return self.op.state is State.COMMITTED and not (
            self.note is not None and self.note.found_at
        )

    def may_have_left_out(self, task: Task, clock: RemoteClock) -> bool:
        """Whether the task can stand for a resource that CBR left out of the change.

        It names no checkpoint: what ties them is that the answer names the resource, and that CBR
        made the task between the request and the answer.
        """
        began = self.claim(clock).began
        if not self.search.leaves_out(task) or not ALWAYS < began <= latest(task.create_time):
            return False
        about = subjects_of(task)
        if self.op.state in OPEN:
            return not self.search.subjects or not about.isdisjoint(self.search.subjects)
        return (
            self.note is not None
            and task.create_time.seconds <= self.note.answered
            and any(each.id in about for each in self.note.skipped)
        )

    @property
    def holds(self) -> bool:
        """Whether its work takes slots under limits of concurrency."""
        over = self.note is not None and self.note.over
        return (
            bool(self.trace.slots)
            and self.op.state in {State.UNKNOWN, State.COMMITTED}
            and not over
        )

    @property
    def unfinished(self) -> bool:
        return self.op.state in OPEN or self.sought or self.holds


class _Project(msgspec.Struct):
    """`newest`: when the newest change began, by the store's clock; `tidy_at`: at how many entries
    to look for those that can go.
    """

    position: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)
    index: Index = field(default_factory=Index)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    newest: float = 0.0
    tidy_at: int = _LEAST


class Claims(msgspec.Struct):
    """One per process.

    `reach_s`: how long before a change another may have begun that could have started the same
    tasks; `hear`: of each news.
    """

    operations: OperationStore
    reader: UpstreamReader
    reach_s: float
    hear: Callable[[str, Entry], None]
    _projects: dict[str, _Project] = field(default_factory=dict)

    async def sync(self, project: str) -> None:
        """Reads what has changed in the store since the last time. Raises StoreDown."""
        known = self._projects.setdefault(project, _Project())
        async with known.reading:
            changes = await self.operations.changes(project, known.position)
            for op in changes.operations:
                try:
                    self._take(project, known, op)
                except (msgspec.DecodeError, KeyError):
                    log.exception(
                        "a change cannot be understood; was it written by another version?",
                        submission=op.id,
                    )
            known.position = changes.position
            if len(known.entries) > known.tidy_at:
                self._tidy(known)

    def get(self, project: str, op_id: str) -> Entry | None:
        return self._projects[project].entries.get(op_id) if project in self._projects else None

    def others(self, project: str, own: OperationView, tasks: Iterable[Task]) -> Iterator[Claim]:
        """The other changes that may have started one of the tasks.

        Raises KeyError for a project that is not served any more.
        """
        known, clock = self._projects[project], self.reader.clock(project)
        for op_id in known.index.of(tasks):
            each = known.entries[op_id]
            if op_id != own.id and each.op.created_at >= own.created_at - self.reach_s:
                yield each.claim(clock)

    def near(self, project: str, task: Task) -> list[Entry]:
        """Changes that the task may have to do with."""
        known = self._projects[project]
        return [known.entries[op_id] for op_id in known.index.of((task,))]

    async def probe(self, op: OperationView, trace: OperationDetail) -> tuple[list[Task], Hits]:
        """The tasks of a project since a while before a change of which no more is known, and those
        that fit it.

        Raises GatewayError, StoreDown, and KeyError for a project that is not served.
        """
        await self.reader.time(trace.project)
        search, clock = search_of(self.reader, op.rpc, trace), self.reader.clock(trace.project)
        own = claim(op, trace, None, search, clock)
        tasks, whole = await listed_since(self.reader, trace.project, own.began - _BEFORE_S)
        began, own = own.began, claim(op, trace, None, search, clock)
        if own.began < began - _BEFORE_S:
            # The answer told that a clock was set.
            tasks, whole = await listed_since(self.reader, trace.project, own.began)
        if not whole:
            text = "A task that CBR lists cannot be understood, and it may be the change's own."
            raise GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)
        await self.sync(trace.project)
        return tasks, hits(
            own, tasks, list(self.others(trace.project, op, filter(own.may_own, tasks)))
        )

    def _take(self, project: str, known: _Project, op: OperationView) -> None:
        before = known.entries.get(op.id)
        if before is not None and (before.op.state, before.op.note) == (op.state, op.note):
            return
        trace, note = (
            before.trace if before is not None else OperationDetail.of(op.detail),
            Note.of(op.note),
        )
        if note is not None and note.why and op.state is State.COMMITTED:
            # What was said while its outcome was open.
            note = None
        search = before.search if before is not None else search_of(self.reader, op.rpc, trace)
        if note is not None and op.state is State.COMMITTED:
            search = note.search
        entry = known.entries[op.id] = Entry(replace(op, detail=b""), trace, note, search)
        known.newest = max(known.newest, op.created_at)
        if op.state in OPEN or op.state is State.COMMITTED:
            known.index.put(
                op.id,
                keys_of(search, note.task_ids, (each.id for each in note.skipped))
                if note is not None and op.state is State.COMMITTED
                else keys_of(search),
            )
        else:
            known.index.drop(op.id)
        self.hear(project, entry)

    def _tidy(self, known: _Project) -> None:
        """Forgets what nobody can be compared with any more.

        Not each time, so that each change is looked at a few times in all.
        """
        # A change is looked for as long as its reach is, and then compared with what began so long
        # before it.
        since = known.newest - 2 * self.reach_s
        for op_id in [
            op_id
            for op_id, each in known.entries.items()
            if each.op.created_at < since and not each.unfinished
        ]:
            del known.entries[op_id]
            known.index.drop(op_id)
        known.tidy_at = max(_LEAST, 2 * len(known.entries))
