"""Looks for the tasks of one project's submissions, for all of them together, in what polls of the
project have shown; only what has changed is judged anew.
"""

import asyncio
import contextlib
import heapq
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog

from gateway.changes import correlation
from gateway.changes.claims import Claims, Entry
from gateway.changes.correlation import ALWAYS, Claim, Finding
from gateway.changes.matching import Index, keys_of
from gateway.changes.record import Note
from gateway.changes.search import age_s, found_at, gone
from gateway.changes.settings import TaskSettings
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.state import OPEN, StoreDown
from gateway.upstream.task_search import Task
from gateway.watch.tracker import TaskTracker

LOOKS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses between looks; the last one is repeated, by all at the same moments."""
_GAP_S: Final = 0.25
_AT_ONCE: Final = 8

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class _Sought:
    """A submission whose tasks are looked for, since `began` by the monotonic clock.

    `seen`: tasks that may be its own, newest rows. `own`: what it claims, by `entry`; None before
    its first look, when any task may be its own. `stage`: how old it was when it was last judged.
    `listed`: what it is judged by must have been listed after this, by the monotonic clock.
    """

    id: str
    began: float
    looks: int = 0
    next_at: float = 0.0
    entry: Entry | None = None
    own: Claim | None = None
    seen: dict[str, Task] = field(default_factory=dict)
    stage: tuple[bool, bool] | None = None
    listed: float = 0.0


class Seeker:
    """One project's."""

    def __init__(
        self,
        project: str,
        claims: Claims,
        tracker: TaskTracker,
        clock: Clock,
        settings: TaskSettings,
    ) -> None:
        self._project, self._claims, self._tracker = project, claims, tracker
        self._clock, self._settings = clock, settings
        self._sought: dict[str, _Sought] = {}
        self._fresh: dict[str, _Sought] = {}
        """Those of which it is not known yet what they claim."""
        self._index = Index()
        self._times: list[tuple[float, str]] = []
        self._woken: dict[str, None] = {}
        self._moved = asyncio.Event()

    def __contains__(self, op_id: str) -> bool:
        return op_id in self._sought

    def add(self, op_id: str) -> None:
        now = self._clock.monotonic()
        self._sought[op_id] = self._fresh[op_id] = _Sought(op_id, now, listed=now)
        self._wake(op_id)

    def observe(self, tasks: Collection[Task]) -> None:
        """Takes what a poll of the project showed."""
        self._take(tasks)

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            due = self._due()
            if not due:
                await self._rest()
                continue
            try:
                await self._look(due)
            except (GatewayError, StoreDown, KeyError) as error:
                log.warning(
                    "tasks of changes cannot be looked for now",
                    project=self._project,
                    submissions=len(due),
                    error=str(error),
                )
            except Exception:
                log.exception(
                    "submissions are left to the next look for abandoned ones",
                    submissions=[each.id for each in due],
                )
                for each in due:
                    self._drop(each.id)
            for each in due:
                if each.id in self._sought:
                    self._put_off(each)
            await self._clock.sleep(_GAP_S)

    # When
    # ----------------------------------------------------------------------------------------------

    def _wake(self, op_id: str) -> None:
        self._woken[op_id] = None
        self._moved.set()

    async def _rest(self) -> None:
        self._moved.clear()
        left_s = max(0.0, self._times[0][0] - self._clock.monotonic()) if self._times else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._moved.wait()

    def _due(self) -> list[_Sought]:
        now = self._clock.monotonic()
        names, self._woken = self._woken, {}
        while self._times and self._times[0][0] <= now:
            names[heapq.heappop(self._times)[1]] = None
        return [self._sought[name] for name in names if name in self._sought]

    def _put_off(self, each: _Sought) -> None:
        """Until its next look, unless that is planned already."""
        now = self._clock.monotonic()
        if each.next_at > now:
            return
        pause_s = LOOKS_S[min(each.looks, len(LOOKS_S) - 1)]
        each.looks += 1
        each.listed = now
        each.next_at = now + pause_s
        if each.looks >= len(LOOKS_S):
            # Together with the others, so that one list serves all.
            each.next_at = math.ceil(each.next_at / pause_s) * pause_s
        heapq.heappush(self._times, (each.next_at, each.id))

    # One look
    # ----------------------------------------------------------------------------------------------

    async def _look(self, due: Sequence[_Sought]) -> None:
        """Raises GatewayError, StoreDown, and KeyError for a project that is not served."""
        await self._claims.sync(self._project)
        await self._claims.reader.time(self._project)
        ready = [each for each in due if self._prepared(each)]
        if ready:
            ready = await self._list(ready)
            # Whoever started one of these is known from now on.
            await self._claims.sync(self._project)
        work = [
            (each, entry)
            for each in ready
            if (entry := self._prepared(each)) and self._has_news(each, entry)
        ]
        for start in range(0, len(work), _AT_ONCE):
            some = work[start : start + _AT_ONCE]
            await asyncio.gather(*(self._judged(each, entry) for each, entry in some))
        if work:
            await self._claims.sync(self._project)
            for each, _ in work:
                self._prepared(each)

    def _prepared(self, each: _Sought) -> Entry | None:
        """Brings what it claims up to date.

        None: it is over, or its outcome is not known yet, which is owed to the store and will be
        told.
        """
        entry = self._claims.get(self._project, each.id)
        if entry is None or (entry.op.state not in OPEN and not entry.sought):
            self._drop(each.id)
            return None
        if not entry.sought:
            return None
        if each.entry is not entry or each.own is None or each.own.began == ALWAYS:
            each.entry, each.own = entry, entry.claim(self._claims.reader.clock(self._project))
            self._index.put(each.id, keys_of(each.own.search))
        if self._fresh.pop(each.id, None) is not None:
            each.seen = {
                task_id: task for task_id, task in each.seen.items() if each.own.may_own(task)
            }
        return entry

    def _drop(self, op_id: str) -> None:
        self._sought.pop(op_id, None)
        self._fresh.pop(op_id, None)
        self._index.drop(op_id)

    async def _list(self, ready: Sequence[_Sought]) -> list[_Sought]:
        """Those that can be judged by what polls have shown: what only likely fits must be held
        against all tasks, and a row may not be understood.
        """
        now = self._clock.monotonic()
        began = min(each.own.began for each in ready if each.own is not None)
        since_us = 0 if began == ALWAYS else int(began) * 1_000_000
        asked_at = max(now if self._is_older(each) else each.listed for each in ready)
        tasks, whole = await self._tracker.since(self._project, since_us, asked_at)
        self._take(tasks)
        if whole:
            return list(ready)
        log.warning(
            "CBR lists a task in a form that cannot be understood",
            project=self._project,
            waiting=len(ready),
        )
        return [each for each in ready if each.own is not None and each.own.search.proven]

    def _is_older(self, each: _Sought) -> bool:
        """Whether what was not listed until now is judged otherwise than before."""
        return (
            each.entry is not None
            and each.stage is not None
            and each.stage != self._stage(each, each.entry)
        )

    def _take(self, tasks: Collection[Task]) -> None:
        for task in tasks:
            for name in self._index.of((task,)):
                each = self._sought[name]
                if each.own is not None and each.own.may_own(task):
                    self._add(each, task)
            for each in self._fresh.values():
                self._add(each, task)

    def _add(self, each: _Sought, task: Task) -> None:
        if task.id not in each.seen:
            self._wake(each.id)
        each.seen[task.id] = task

    # What it comes to
    # ----------------------------------------------------------------------------------------------

    def _stage(self, each: _Sought, entry: Entry) -> tuple[bool, bool]:
        """Whether what CBR has not listed by now it will not list, and whether nobody waits any
        longer.
        """
        watched_s = self._clock.monotonic() - each.began
        age = max(age_s(self._claims.reader, entry.trace, watched_s), watched_s)
        return age >= self._settings.settle_s, age >= self._settings.give_up_s

    def _has_news(self, each: _Sought, entry: Entry) -> bool:
        """Where no task fits, no other change matters."""
        return (
            bool(each.seen)
            or self._claims.reader.catalog[entry.op.rpc].traits.gone is not None
            or each.stage != self._stage(each, entry)
        )

    async def _judged(self, each: _Sought, entry: Entry) -> None:
        """One that cannot be judged now keeps nobody from the others."""
        try:
            await self._judge(each, entry)
        except (GatewayError, StoreDown, KeyError) as error:
            each.stage = None
            log.warning(
                "the tasks of a change cannot be looked for now",
                submission=each.id,
                error=str(error),
            )

    async def _judge(self, each: _Sought, entry: Entry) -> None:
        settled, given_up = each.stage = self._stage(each, entry)
        finding = await self._find(each, entry, settled=settled, given_up=given_up)
        note = entry.note or Note(correlation.CORRELATING, entry.search)
        if (finding.state, finding.task_ids) == (note.state, note.task_ids) and not finding.final:
            return
        found = found_at(self._claims.reader, self._project) if finding.final else 0.0
        newer = msgspec.structs.replace(
            note, state=finding.state, task_ids=finding.task_ids, found_at=found
        )
        operations = self._claims.operations
        if (
            not await operations.note(each.id, newer.packed(), entry.op.note)
            and await operations.get(each.id) is None
        ):
            # It was forgotten. Else another replica knew more: the next look tells.
            self._drop(each.id)

    async def _find(self, each: _Sought, entry: Entry, *, settled: bool, given_up: bool) -> Finding:
        own = each.own = entry.claim(self._claims.reader.clock(self._project))
        others = (
            []
            if own.search.proven
            else list(self._claims.others(self._project, entry.op, each.seen.values()))
        )
        found = correlation.hits(own, each.seen.values(), others)
        if (
            settled
            and not found.tasks
            and await gone(self._claims.reader, entry.op.rpc, entry.trace)
        ):
            # It left no task that CBR lists.
            given_up = True
        return correlation.judge(own, found, settled=settled, given_up=given_up)
