"""Submissions: the work that asynchronous changes started, looked for in the background and kept with the change's operation.

A submission is its operation's record, under the same id. Once the change was carried out, a note holds what is known of its tasks; whichever
replica finds out more replaces the note. So a submission outlives the process and can be asked for anywhere.
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog
from cbrgateway.v1 import errors_pb2, types_pb2

from gateway.clock import Clock
from gateway.errors import GatewayError, Resource
from gateway.state import OPEN, Heartbeat, Operation, OperationView, State, Store, StoreDown
from gateway.tasks import correlation
from gateway.tasks.correlation import Claim, Finding, Task
from gateway.tasks.holding import Holdings
from gateway.tasks.record import Note, Trace, claim, shown, skipped_in, submission
from gateway.tasks.search import gone, listed, others, search_of
from gateway.tasks.settings import TaskSettings
from gateway.tasks.truth import Truth

LOOKS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses between looks; the last one is repeated."""
_POLLED_S: Final = 40.0
"""A project that somebody polled this recently needs no looks of its own."""
_PICK_UP_S: Final = 15.0
_MAX_KNOWN: Final = 100_000
"""Tasks whose submission is kept in memory."""

Listener = Callable[[str, types_pb2.Submission], None]
"""Hears of a project's submission that is new or has changed."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class _Search:
    """A submission whose tasks this process looks for, since `began` by the monotonic clock. `seen`: tasks that may be its own, newest rows."""

    project: str
    began: float
    seen: dict[str, Task] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    own: Claim | None = None


@dataclass(slots=True)
class Submissions:
    """One per process. `projects`: those that the gateway serves."""

    store: Store
    truth: Truth
    clock: Clock
    settings: TaskSettings
    heartbeat: Heartbeat
    projects: Callable[[], Collection[str]]
    _holdings: Holdings = field(init=False)
    _searches: dict[str, _Search] = field(default_factory=dict)
    _running: set[asyncio.Task[None]] = field(default_factory=set)
    _known: dict[str, OperationView] = field(default_factory=dict)
    _of_task: dict[tuple[str, str], str] = field(default_factory=dict)
    _polled: dict[str, float] = field(default_factory=dict)
    _listeners: list[Listener] = field(default_factory=list)
    _may_have_gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another process may have left something behind."""

    def __post_init__(self) -> None:
        self.heartbeat.subscribe(self._may_have_gone.set)
        self._holdings = Holdings(self.store, self.truth, self.clock)

    # What callers ask ------------------------------------------------------------------------------------------------------------

    async def get(self, submission_id: str, tenant: str, project: str) -> types_pb2.Submission:
        """Raises SUBMISSION_NOT_FOUND, also for one of another tenant or project; StoreDown."""
        op = await self.store.operation(submission_id)
        if op is None or op.rpc not in correlation.RULES or op.tenant != tenant or Trace.of(op.detail).project != project:
            text = "There is no such submission in this project; submissions are kept for 24 hours after their change ended."
            raise GatewayError(errors_pb2.ERROR_REASON_SUBMISSION_NOT_FOUND, text, resource=Resource("submission", submission_id))
        return submission(op)

    async def list(self, tenant: str, project: str) -> list[types_pb2.Submission]:
        """Newest first. Raises StoreDown."""
        return [submission(op) for op in reversed(await self.store.on_topic(project, 0)) if op.tenant == tenant]

    # What others tell and hear ---------------------------------------------------------------------------------------------------

    def observe(self, project: str, tasks: Iterable[Task]) -> None:
        """Takes what a poll of the project showed. While polls come, submissions are found by them alone."""
        self._polled[project] = self.clock.monotonic()
        known = list(tasks)
        for search in self._searches.values():
            if search.project == project:
                # Before its first look a search does not know yet what it looks for.
                fresh = {task.id: task for task in known if search.own is None or search.own.may_own(task)}
                if fresh.keys() - search.seen.keys():
                    search.woken.set()
                search.seen.update(fresh)

    def of_task(self, project: str, task_id: str) -> str:
        """The submission that started a task for sure; empty for none, or none yet."""
        return self._of_task.get((project, task_id), "")

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tells `listener` of each submission that is new or changes, those of other replicas some seconds later. Returns how to end it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    # The life of a submission ----------------------------------------------------------------------------------------------------

    def carried_out(self, op: Operation | OperationView, answer: Any, upstream_request_id: str = "") -> bytes:  # noqa: ANN401 - any response
        """Puts the submission into the answer of a change that was carried out; the note to store with its operation."""
        trace = Trace.of(op.detail)
        search, skipped = search_of(self.truth, op.rpc, trace, answer), skipped_in(answer)
        known = correlation.at_once(search, skipped)
        found_at = self._found_at(trace.project) if known.final else 0.0
        note = Note(known.state, search, known.task_ids, skipped, upstream_request_id, found_at)
        answer.submission.CopyFrom(shown(op.id, op.rpc, op.request_id, trace.accepted, note))
        return note.packed()

    def follow(self, op_id: str, project: str, places: Sequence[str] = ()) -> bool:
        """Looks for the tasks of a change in the background until they are known, and keeps its places until they are over.

        To be called once the change's end is stored. False: correlation is off.
        """
        if not self.settings.correlate:
            return False
        if places:
            self._holdings.hold(op_id, places)
        if op_id not in self._searches:
            self._search(op_id, project)
        return True

    def _search(self, op_id: str, project: str) -> None:
        search = _Search(project, self.clock.monotonic())
        self._searches[op_id] = search
        task = asyncio.create_task(self._follow(op_id, search))
        self._running.add(task)
        task.add_done_callback(lambda ended: self._ended(op_id, ended))

    def _ended(self, op_id: str, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._searches.pop(op_id, None)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Says that this process is there, and picks up what earlier lives of it and other replicas left, until left itself."""
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
        since, store_time, read_at = 0.0, 0.0, self.clock.monotonic()
        while True:
            try:
                held_since, newest = await self._take_stock(since)
                # By the store's clock it is at least as late as this.
                store_time, read_at = max(newest, store_time + self.clock.monotonic() - read_at), self.clock.monotonic()
                since = min(store_time - self.settings.give_up_s - self.settings.settle_s, held_since)
            except StoreDown as down:
                log.warning("the store does not answer", error=str(down))
            except Exception:
                log.exception("submissions could not be picked up; the next look follows")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PICK_UP_S):
                    await self._may_have_gone.wait()
            self._may_have_gone.clear()

    async def _take_stock(self, since: float) -> tuple[float, float]:
        """Learns of all submissions that began since then, and follows those that nobody else does. Raises StoreDown.

        The time from which on some still hold places, and when the newest began; both, as `since`, by the store's clock.
        """
        known: dict[str, OperationView] = {}
        held_since, newest = math.inf, 0.0
        for project in self.projects():
            for op in await self.store.on_topic(project, since):
                known[op.id] = op
                newest = max(newest, op.created_at)
                self._tell(project, op)
                note, trace = Note.of(op.note), Trace.of(op.detail)
                # By then the replica that began has found what there is, or is gone. To be wrong about that costs a few reads.
                abandoned = self._left(trace) or self._age_s(trace, self.clock.time() - trace.accepted) > self.settings.settle_s
                ended = op.state is not State.COMMITTED or (note is not None and note.found_at > 0)
                holds = bool(trace.places) and op.state in {State.UNKNOWN, State.COMMITTED} and not (note is not None and note.over)
                if holds:
                    held_since = min(held_since, op.created_at)
                if abandoned and (holds or not ended):
                    self.follow(op.id, project, trace.places if holds else ())
        self._known = known
        return held_since, newest

    def _left(self, trace: Trace) -> bool:
        """Whether no other process looks after it."""
        return trace.owner == self.heartbeat.owner or self.heartbeat.gone(trace.owner, beats=trace.beats)

    def _age_s(self, trace: Trace, otherwise_s: float) -> float:
        """How long ago a change was sent, at least. `otherwise_s`: where CBR's time is not known."""
        clock = self.truth.clock(trace.project)
        now = clock.now()
        if now is None or trace.sent is None or not clock.comparable(trace.sent, trace.accepted):
            return otherwise_s
        return now.earliest - trace.sent.latest

    def _found_at(self, project: str) -> float:
        """Later than everything where CBR's time is not known. Two such moments of one process are in their order, however little is known of it."""
        now = self.truth.clock(project).now()
        return math.inf if now is None else now.earliest

    def _tell(self, project: str, op: OperationView) -> None:
        """Keeps what is known of a submission now, and tells the listeners if that is new."""
        before = self._known.get(op.id)
        self._known[op.id] = op
        if before is not None and (before.state, before.note) == (op.state, op.note):
            return
        now = submission(op)
        if now.state == correlation.RESOLVED:
            self._of_task.update({(project, task_id): op.id for task_id in now.task_ids})
            for oldest in list(itertools.islice(self._of_task, max(0, len(self._of_task) - _MAX_KNOWN))):
                del self._of_task[oldest]
        for listener in self._listeners:
            listener(project, now)

    async def _follow(self, op_id: str, search: _Search) -> None:
        pauses = iter(LOOKS_S)
        while True:
            try:
                if await self._look(op_id, search):
                    return
            except (GatewayError, StoreDown, KeyError) as error:
                log.warning("the tasks of a change cannot be looked for now", submission=op_id, error=str(error))
            except Exception:
                log.exception("a submission is left to the next look for abandoned ones", submission=op_id)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(next(pauses, LOOKS_S[-1])):
                    await search.woken.wait()
            search.woken.clear()

    async def _look(self, op_id: str, search: _Search) -> bool:
        """One look; True when nothing is left to find out. Raises GatewayError, StoreDown, and KeyError for a project that is not served."""
        op = await self.store.operation(op_id)
        if op is None:
            return True
        self._tell(search.project, op)
        note, trace = Note.of(op.note), Trace.of(op.detail)
        if op.state is not State.COMMITTED or (note is not None and note.found_at):
            # Open: its end is owed to the store and will be told.
            return op.state not in OPEN
        note = note or Note(correlation.CORRELATING, search_of(self.truth, op.rpc, trace))
        await self.truth.time(trace.project)
        search.own = claim(op, trace, note, note.search, self.truth.clock(trace.project))
        finding = await self._find(search, search.own, op, trace)
        if (finding.state, finding.task_ids) == (note.state, note.task_ids) and not finding.final:
            return False
        found_at = self._found_at(trace.project) if finding.final else 0.0
        newer = msgspec.structs.replace(note, state=finding.state, task_ids=finding.task_ids, found_at=found_at)
        if not await self.store.note(op_id, newer.packed(), op.note):
            # Another replica knew more, or the change was forgotten: the next look tells.
            return False
        return await self._look(op_id, search)

    async def _find(self, search: _Search, own: Claim, op: OperationView, trace: Trace) -> Finding:
        if self.clock.monotonic() - self._polled.get(search.project, float("-inf")) > _POLLED_S:
            search.seen.update({task.id: task for task in await listed(self.truth, search.project, own) if own.may_own(task)})
        watched_s = self.clock.monotonic() - search.began
        age_s = max(self._age_s(trace, watched_s), watched_s)
        settled, given_up = age_s >= self.settings.settle_s, age_s >= self.settings.give_up_s
        rest = await others(self.store, self.truth, search.project, op, self.settings.give_up_s)
        found = correlation.hits(own, search.seen.values(), rest)
        if settled and not found.tasks and await gone(self.truth, op.rpc, trace):
            # It left no task that CBR lists.
            given_up = True
        return correlation.judge(own, found, settled=settled, given_up=given_up)
