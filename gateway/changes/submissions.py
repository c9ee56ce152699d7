"""Submissions: the work that asynchronous changes started, looked for in the background and kept
with the change's operation.

A submission is its operation's record, under the same id. Once the change was carried out, a note
holds what is known of its tasks; whichever replica finds out more replaces the note. So a
submission outlives the process and can be asked for anywhere.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from cbrgateway.v1 import types_pb2

from gateway.changes import correlation
from gateway.changes.claims import Claims, Entry
from gateway.changes.holding import Holdings
from gateway.changes.owners import TaskOwners
from gateway.changes.record import (
    MAX_LOST_IDS,
    Note,
    OperationDetail,
    shown,
    skipped_in,
    submission,
)
from gateway.changes.search import age_s, found_at, search_of
from gateway.changes.seeking import Seeker
from gateway.changes.settings import TaskSettings
from gateway.clock import Clock
from gateway.state import (
    OPEN,
    Heartbeat,
    Leases,
    Operation,
    OperationStore,
    OperationView,
    State,
    StoreDown,
)
from gateway.upstream.losses import Loss
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.task_search import Task
from gateway.watch.row import changed_us
from gateway.watch.tracker import TaskTracker

_PICK_UP_S: Final = 15.0
_REACH_S: Final = 1800.0
"""How long before a change another that could have started the same tasks may have begun."""

_MOST_DOUBTFUL: Final = 1000

Listener = Callable[[str, types_pb2.Submission], None]
"""Hears of a project's submission that is new or has changed."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class Submissions:
    """One per process."""

    operations: OperationStore
    leases: Leases
    tracker: TaskTracker
    owners: TaskOwners
    clock: Clock
    settings: TaskSettings
    heartbeat: Heartbeat
    claims: Claims = field(init=False)
    _holdings: Holdings = field(init=False)
    _seekers: dict[str, Seeker] = field(default_factory=dict)
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _unfinished: dict[str, str] = field(default_factory=dict)
    """Changes of which something is to be found out or held: their projects, by id."""
    _listeners: list[Listener] = field(default_factory=list)
    _doubtful: dict[str, Sequence[Loss]] = field(default_factory=dict)
    """What changes would destroy of which it is not known yet whether they were carried out."""
    _may_have_gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another process may have left something behind."""

    def __post_init__(self) -> None:
        self.heartbeat.subscribe(self._may_have_gone.set)
        self.tracker.observers.append(self.observe)
        self.claims = Claims(
            self.operations, self.reader, max(self.settings.give_up_s, _REACH_S), self._hear
        )
        self._holdings = Holdings(
            self.operations, self.leases, self.reader, self.tracker, self.clock
        )

    @property
    def reader(self) -> UpstreamReader:
        return self.tracker.source.reader

    def observe(self, project: str, tasks: Collection[Task]) -> None:
        """Takes what a poll of the project showed."""
        self._seeker(project).observe(tasks)

    async def owner(self, project: str, task: Task) -> str | None:
        """The submission that started a task that has ended; empty for none; None: it is being
        found out, which is waited for no longer than CBR may take to list a task.

        Raises StoreDown, and KeyError for a project that is not served any more.
        """
        await self.claims.sync(project)
        if (found := self.owners.of(project, task.id)) or not self.settings.correlate:
            return found
        clock = self.reader.clock(project)
        now = clock.now()
        now_s = self.clock.time() if now is None else now.earliest
        near = self.claims.near(project, task)
        left_out = [each for each in near if each.may_have_left_out(task, clock)]
        if now_s - changed_us(task) / 1e6 <= self.settings.settle_s:
            may_own = (
                each.claim(clock).may_own(task)
                for each in near
                if each.sought or each.op.state in OPEN
            )
            if any(may_own) or any(each.op.state in OPEN for each in left_out):
                return None
        # Two calls at once that left out the same cannot be told apart.
        sure = [each.op.id for each in left_out if each.op.state is State.COMMITTED]
        return sure[0] if len(sure) == 1 else ""

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tells `listener` of each submission that is new or changes, those of other replicas some
        seconds later. Returns how to end it.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def carried_out(
        self,
        op: Operation | OperationView,
        answer: Any,  # noqa: ANN401 - any message
        upstream_request_id: str = "",
        losses: Sequence[Loss] = (),
    ) -> bytes:
        """Puts the submission into the answer of a change; the note to store with its operation."""
        trace = OperationDetail.of(op.detail)
        search, skipped = search_of(self.reader, op.rpc, trace, answer), skipped_in(answer)
        known = correlation.at_once(search, skipped)
        known_losses = losses or self._doubtful.pop(op.id, ())
        known_at = found_at(self.reader, trace.project) if known.final else 0.0
        now = self.reader.clock(trace.project).now()
        note = Note(
            state=known.state,
            search=search,
            task_ids=known.task_ids,
            skipped=skipped,
            upstream_request_id=upstream_request_id,
            found_at=known_at,
            answered=now.latest if now is not None else 0.0,
            losses=tuple(each.first(MAX_LOST_IDS) for each in known_losses),
        )
        answer.submission.CopyFrom(shown(op.id, op.rpc, op.request_id, trace.accepted, note))
        return note.packed()

    def doubt(self, op_id: str, losses: Sequence[Loss]) -> None:
        """It is not known whether a change was carried out that destroys this."""
        if losses:
            self._doubtful[op_id] = tuple(losses)
            while len(self._doubtful) > _MOST_DOUBTFUL:
                del self._doubtful[next(iter(self._doubtful))]

    def follow(self, op_id: str, project: str, slots: Sequence[str] = ()) -> bool:
        """Looks for the tasks of a change in the background until they are known, and keeps its
        slots until they are over.

        To be called once the change's end is stored. False: correlation is off.
        """
        if not self.settings.correlate:
            return False
        if slots:
            self._holdings.hold(op_id, slots)
        seeker = self._seeker(project)
        if op_id not in seeker:
            seeker.add(op_id)
        return True

    def _seeker(self, project: str) -> Seeker:
        if project not in self._seekers:
            self._seekers[project] = seeker = Seeker(
                project, self.claims, self.tracker, self.clock, self.settings
            )
            # In a context of its own: what is logged of it belongs to no call.
            self._running.add(asyncio.create_task(seeker.run(), context=contextvars.Context()))
        return self._seekers[project]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Says that this process is there, and picks up what earlier lives of it and other replicas
        left, until left itself.
        """
        picking = asyncio.create_task(self._pick_up())
        try:
            async with self.heartbeat.running():
                yield
        finally:
            ending = [picking, *self._running]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._holdings.aclose()

    async def _pick_up(self) -> None:
        while True:
            try:
                await self._take_stock()
            except StoreDown as down:
                log.warning("the store does not answer", error=str(down))
            except Exception:
                log.exception("submissions could not be picked up; the next look follows")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PICK_UP_S):
                    await self._may_have_gone.wait()
            self._may_have_gone.clear()

    async def _take_stock(self) -> None:
        """Learns of all submissions, and follows those that nobody else does. Raises StoreDown."""
        served = self.tracker.projects()
        for project in served:
            await self.claims.sync(project)
        for op_id, project in list(self._unfinished.items()):
            each = self.claims.get(project, op_id)
            if (
                each is None
                or project not in served
                or (op_id in self._seeker(project) and not each.holds)
            ):
                continue
            if (each.sought or each.holds) and self._abandoned(each.trace):
                self.follow(op_id, project, each.trace.slots if each.holds else ())

    def _abandoned(self, trace: OperationDetail) -> bool:
        """By then the replica that began has found what there is, or is gone.

        To be wrong about that costs a few reads.
        """
        if trace.owner == self.heartbeat.owner or self.heartbeat.gone(
            trace.owner, beats=trace.beats
        ):
            return True
        return (
            age_s(self.reader, trace, self.clock.time() - trace.accepted) > self.settings.settle_s
        )

    def _hear(self, project: str, each: Entry) -> None:
        """A submission is new or has changed."""
        if each.unfinished:
            self._unfinished[each.op.id] = project
        else:
            self._unfinished.pop(each.op.id, None)
        now = submission(each.op, each.trace, each.note)
        if now.state == correlation.RESOLVED:
            self.owners.put(project, now.task_ids, each.op.id)
        for listener in self._listeners:
            listener(project, now)
