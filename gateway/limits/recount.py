"""Counts what exists from what CBR lists: each project by itself, and the counters of limits as
their totals.

Growth waits for the first count of its own project, and for the first try to count each other one
that shares a limit with it.

The marker on a vault tells which open operation created it: what that operation holds is still
counted as reserved, so the vault is left out of the listing's count and its id out of those seen;
the store adds it again when the operation ends. A counter that the operation does not know, since
its limit is newer, counts the vault at once.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, Final

import structlog
from cbrgateway.v1 import backup_share_pb2
from msgspec import Struct, field

from gateway import failpoint
from gateway.clock import Clock
from gateway.limits import refusals
from gateway.limits.counts import Counts, Standing
from gateway.limits.known_counts import KnownCounts
from gateway.limits.late_changes import LateChanges
from gateway.limits.limits import Limits, Scope
from gateway.limits.listing import Listing, Recent, shared
from gateway.limits.lists import Lists
from gateway.limits.store_life import StoreLife
from gateway.state import OPEN, Counters, OperationStore
from gateway.upstream.amounts import Metric, Resize
from gateway.upstream.reader import UpstreamReader

_TOGETHER_S: Final = 0.2
"""Lists that end at about the same time are told to the store together; a slow one delays none."""

_AGAIN_S: Final = 5.0
"""Between two counts of a project whose objects go while it is counted."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Recounter(Struct):
    """One per process.

    `scopes`: one for each project that the gateway serves; `assumed`: what is taken for a project
    that was never counted.
    """

    life: StoreLife
    counters: Counters
    operations: OperationStore
    reader: UpstreamReader
    lists: Lists
    clock: Clock
    scopes: Callable[[], Sequence[Scope]]
    limits: Callable[[], Limits]
    assumed: Mapping[Metric, int]
    late: LateChanges
    known: KnownCounts
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a recount should not wait for its time."""
    _counts: Counts | None = None
    _counting: dict[str, asyncio.Event] = field(default_factory=dict)
    _again: set[str] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.life.subscribe(self.known.lose)

    @property
    def counts(self) -> Counts:
        if self._counts is None:
            self._counts = Counts.of(self.limits(), self.scopes(), self.assumed)
        return self._counts

    def soon(self) -> None:
        self.wanted.set()

    def again(self, project: str) -> None:
        """Counts one project once more, after a while: it may be counted too high."""
        if project not in self._again:
            self._again.add(project)
            self._start(self._count_again(project))

    def forget(self, _limits: Limits) -> None:
        """After a change of limits or projects: other counters, and other projects in them."""
        self._counts = None
        self.known.forget()
        self.lists.forget(self.counts.project_of)
        self.soon()

    def standing(self, key: str) -> Standing:
        """How far a counter is known."""
        parts = self.counts.below([key])
        left_s = self.life.wait_s
        return Standing(
            counting=any(
                part not in self.known.parts and part not in self.lists.problems for part in parts
            ),
            problems=[
                (self.lists.problems[part], part in self.known.parts)
                for part in sorted(parts)
                if part in self.lists.problems
            ],
            growth_at=self.clock.time() + left_s if left_s > 0 and parts else None,
        )

    async def ensure(self, keys: Collection[str], project: str, time_left_s: float) -> None:
        """Waits until a project may grow under these counters.

        Raises QUOTA_STORE_DOWN with the cause when it may not, and StoreDown.
        """
        await self.life.check()
        own = self.counts.own(keys, project)
        wanted = own.union(keys)
        if self.known.ready.issuperset(wanted):
            return
        self.life.check_wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(time_left_s, 0)):
                await self._make_ready(keys, own)
        if self.known.ready.issuperset(wanted):
            return
        self.life.check_wait()
        for part in sorted(own - self.known.parts):
            if problem := self.lists.problems.get(part):
                raise refusals.uncounted(problem)
        raise refusals.store_down("What exists is still being counted.")

    async def run(self) -> None:
        """Counts everything that a limit is on.

        Raises StoreDown; a project that cannot be read is logged and keeps its last count.
        """
        self.wanted.clear()
        await self.life.check()
        await self.clock.sleep(max(0, self.life.wait_s))
        await self.known.recall(lambda: self.counts)
        # A count that began before what this one was asked for does not do for it.
        await asyncio.gather(*(under_way.wait() for under_way in self._counting.values()))
        await self._begin(self.counts.parts.keys() - self._counting.keys())

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def members(self, applied_keys: Collection[str], backup_id: str, project: str) -> None:
        """Counts the members of one backup.

        Raises QUOTA_STORE_DOWN while nothing may grow, another GatewayError, or StoreDown.
        """
        await self.life.check()
        self.life.check_wait()
        began = self.clock.monotonic()
        recent = await self.late.sharings(backup_id)
        fence = await self.counters.fence()
        asked = backup_share_pb2.ListBackupMembersRequest(backup_id=backup_id)
        rows = await self.reader.rows(asked, backup_share_pb2.Member, project)
        shown = shared(recent, backup_id, {row.destination_project_id for row in rows})
        await self.life.check_still(began)
        await self.counters.recount(
            dict.fromkeys(applied_keys, len(rows)), fence, shown, self.late.settle_s
        )

    async def _make_ready(self, keys: Collection[str], own: Collection[str]) -> None:
        """Counts what was never counted; of others' projects only what nobody has tried yet."""
        await self.known.recall(lambda: self.counts)
        counts = self.counts
        unknown = counts.below(keys).union(own) - self.known.parts
        projects = {
            counts.project_of[part]
            for part in unknown
            if part in own or part not in self.lists.problems
        }
        if fresh := projects - self._counting.keys():
            self._begin(fresh)
        for project in projects:
            if under_way := self._counting.get(project):
                await under_way.wait()
        # Of projects that were known before, only the total has to be taken.
        if totals := {
            key: counts.totals[key]
            for key in keys
            if key in counts.totals and key not in self.known.ready | counts.project_of.keys()
        }:
            await self.counters.recount({}, 0, (), sums=totals)
        self.known.note(totals, self.counts)

    def _begin(self, projects: Collection[str]) -> asyncio.Task[None]:
        for project in projects:
            self._counting[project] = asyncio.Event()
        return self._start(self._count(projects))

    async def _count_again(self, project: str) -> None:
        await self.clock.sleep(_AGAIN_S)
        self._again.discard(project)
        await self.life.check()
        if under_way := self._counting.get(project):
            await under_way.wait()
        if project in self.counts.parts and project not in self._counting:
            await self._begin({project})

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("a count failed; the next one follows", error=str(error))

    async def _count(self, projects: Collection[str]) -> None:
        """Raises StoreDown."""
        began = self.clock.monotonic()
        lists: dict[asyncio.Task[Listing], str] = {}
        try:
            recent = await self.late.resizes()
            fence = await self.counters.fence()
            failpoint.reach("after_fence")
            lists = {
                asyncio.create_task(
                    self.lists.of(project, self.counts.parts.get(project, {}))
                ): project
                for project in projects
            }
            while lists:
                await asyncio.wait(lists, return_when=asyncio.FIRST_COMPLETED)
                done, _ = await asyncio.wait(lists, timeout=_TOGETHER_S)
                listed = {lists.pop(task): task.result() for task in done}
                await self._tell(listed, fence, recent, began)
                for project in listed:
                    self._counting.pop(project).set()
        finally:
            for task in lists:
                task.cancel()
            for project in projects:
                if under_way := self._counting.pop(project, None):
                    under_way.set()

    async def _tell(
        self,
        listed: Mapping[str, Listing],
        fence: int,
        recent: Sequence[Recent[Resize]],
        began: float,
    ) -> None:
        counts = self.counts
        reserved = {
            op.id: {key for key, _ in op.charges}
            for op in await self.operations.in_states(None, OPEN)
        }
        found = {
            part: listing.amount(metric, part, reserved)
            for project, listing in listed.items()
            for part, metric in counts.parts.get(project, {}).items()
            if listing.knows(metric)
        }
        seen = {known for listing in listed.values() for known in listing.shown(reserved, recent)}
        gone = await self.late.gone()
        for project, listing in listed.items():
            if not gone.isdisjoint(listing.ids):
                self.again(project)
        failpoint.reach("after_listing")
        totals = counts.above(listed)
        await self.life.check_still(began)
        await self.counters.recount(found, fence, seen | gone, self.late.settle_s, totals)
        failpoint.reach("after_recount")
        if began >= self.life.count_from:
            self.known.parts |= found.keys()
            self.known.note(totals, self.counts)
