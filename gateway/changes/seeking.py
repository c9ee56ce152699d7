"""Looks for the tasks of one project's submissions, for all of them together, in what polls of the
project have shown; only what has changed is judged anew.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

import structlog

from gateway.changes.claims import Claims, Entry
from gateway.changes.correlation import ALWAYS
from gateway.changes.matching import Index, keys_of
from gateway.changes.schedule import Schedule
from gateway.changes.settings import TaskSettings
from gateway.changes.sought import Judge, Sought
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.state import OPEN, StoreDown
from gateway.upstream.task_search import Task
from gateway.watch.tracker import TaskTracker

_GAP_S: Final = 0.25
_AT_ONCE: Final = 8

log: structlog.stdlib.BoundLogger = structlog.get_logger()


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
        self._clock = clock
        self._schedule, self._judge = Schedule(clock), Judge(project, claims, clock, settings)
        self._sought: dict[str, Sought] = {}
        self._fresh: dict[str, Sought] = {}
        """Those of which it is not known yet what they claim."""
        self._index = Index()

    def __contains__(self, op_id: str) -> bool:
        return op_id in self._sought

    def add(self, op_id: str) -> None:
        now = self._clock.monotonic()
        self._sought[op_id] = self._fresh[op_id] = Sought(op_id, now, listed=now)
        self._schedule.add(op_id)

    def observe(self, tasks: Collection[Task]) -> None:
        """Takes what a poll of the project showed."""
        self._take(tasks)

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            due = [self._sought[name] for name in self._schedule.due()]
            if not due:
                await self._schedule.rest()
                continue
            try:
                await self._probe(due)
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
                if self._schedule.put_off(each.id):
                    each.listed = self._clock.monotonic()
            await self._clock.sleep(_GAP_S)

    async def _probe(self, due: Sequence[Sought]) -> None:
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
            if (entry := self._prepared(each)) and self._judge.has_news(each, entry)
        ]
        for start in range(0, len(work), _AT_ONCE):
            some = work[start : start + _AT_ONCE]
            await asyncio.gather(*(self._judged(each, entry) for each, entry in some))
        if work:
            await self._claims.sync(self._project)
            for each, _ in work:
                self._prepared(each)

    def _prepared(self, each: Sought) -> Entry | None:
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
        self._schedule.drop(op_id)

    async def _list(self, ready: Sequence[Sought]) -> list[Sought]:
        """Those that can be judged by what polls have shown: what only likely fits must be held
        against all tasks, and a row may not be understood.
        """
        now = self._clock.monotonic()
        began = min(each.own.began for each in ready if each.own is not None)
        since_us = 0 if began == ALWAYS else int(began) * 1_000_000
        asked_at = max(now if self._judge.is_older(each) else each.listed for each in ready)
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

    def _take(self, tasks: Collection[Task]) -> None:
        for task in tasks:
            for name in self._index.of((task,)):
                each = self._sought[name]
                if each.own is not None and each.own.may_own(task):
                    self._add(each, task)
            for each in self._fresh.values():
                self._add(each, task)

    def _add(self, each: Sought, task: Task) -> None:
        if task.id not in each.seen:
            self._schedule.wake(each.id)
        each.seen[task.id] = task

    async def _judged(self, each: Sought, entry: Entry) -> None:
        """One that cannot be judged now keeps nobody from the others."""
        try:
            if not await self._judge.judge(each, entry):
                self._drop(each.id)
        except (GatewayError, StoreDown, KeyError) as error:
            each.stage = None
            log.warning(
                "the tasks of a change cannot be looked for now",
                submission=each.id,
                error=str(error),
            )
