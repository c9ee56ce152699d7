"""The tasks of all projects as their polls show them: one poller for each project, for all who want
to know.

Streams use a poller for as long as they run; `follow` is for those who wait for the end of some
tasks; `since` is for those who look through what was created lately; and `on_end` hears of each
task that ends, once for all replicas.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from cbrgateway.v1 import task_pb2
from msgspec import Struct

from gateway.clock import Clock
from gateway.state import SingleKeyValue
from gateway.watch.ends import Cursor, EndedTask, Ends, OnEnd
from gateway.watch.lists import created_since
from gateway.watch.poll_lease import PollLease
from gateway.watch.poller import Observe, Poller, Source
from gateway.watch.settings import WatchSettings
from gateway.watch.table import NEVER, News

_SPREAD_S: Final = 0.02
_LOOK_S: Final = 5.0
"""Time between two looks at which projects are served."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Polled(Struct):
    """A project that is polled. `users`: how many want that."""

    poller: Poller
    polling: asyncio.Task[None]
    users: int = 0


class _Follower(Struct, eq=False):
    """`left`: the tasks of which the end is not told yet."""

    poller: Poller
    left: set[str]
    on_end: Callable[[str], None]

    def take(self, news: News) -> None:
        """A listener of the poller."""
        table = self.poller.table
        ended = {change.row.id for change in news.changes if change.row.final}
        for task_id in list(self.left):
            row = table.rows.get(task_id)
            if task_id in ended or task_id in table.unknown or (row is not None and row.final):
                self.left.discard(task_id)
                self.on_end(task_id)
        # Nobody waits for those any more; this one does.
        if again := [each for each in self.left if self.poller.unreadable.given_up(each)]:
            self.poller.want(NEVER, again)


@dataclass(slots=True)
class TaskTracker:
    """One per process. `projects`: those that the gateway serves."""

    source: Source
    settings: WatchSettings
    clock: Clock
    cursors: SingleKeyValue
    poll_lease: PollLease
    projects: Callable[[], Collection[str]]
    on_end: OnEnd | None = None
    """Hears of the end of each task of each project that is polled, once for all replicas."""
    observers: list[Observe] = field(default_factory=list)
    _polled: dict[str, _Polled] = field(default_factory=dict)
    _ends: dict[str, Ends] = field(default_factory=dict)
    _kept: set[str] = field(default_factory=set)
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()

    @contextlib.contextmanager
    def used(self, project: str, *, waiting: bool = True) -> Iterator[Poller]:
        """The poller of a project, which polls until left.

        `waiting`: somebody waits for what it tells, so that it polls often while a task is open.
        """
        poller = self.use(project, waiting=waiting)
        try:
            yield poller
        finally:
            self.leave(project, waiting=waiting)

    def use(self, project: str, *, waiting: bool = True) -> Poller:
        """As `used`, until `leave`."""
        polled = self._polled.get(project)
        if polled is None:
            polled = self._polled[project] = self._begun(project)
        polled.users += 1
        polled.poller.unused = False
        if waiting:
            polled.poller.waited_for += 1
            if polled.poller.waited_for == 1:
                polled.poller.hurry()
        return polled.poller

    def leave(self, project: str, *, waiting: bool = True) -> None:
        polled = self._polled[project]
        polled.users -= 1
        if waiting:
            polled.poller.waited_for -= 1
        if not polled.users:
            polled.poller.unused = True
            polled.poller.stir()

    def pollers(self) -> list[Poller]:
        """Those of all projects that are polled now."""
        return [polled.poller for polled in list(self._polled.values())]

    def _begun(self, project: str) -> _Polled:
        ends = self._ends_of(project)
        poller = Poller(
            project,
            self.source,
            self.settings,
            self.clock,
            self.poll_lease,
            observe=self._observe,
            ends=ends,
        )
        poller.listeners.add(ends.take)
        self.poll_lease.join(project, poller.hear)
        # In a context of its own: what is logged of it belongs to no call.
        polling = asyncio.create_task(self._poll(poller), context=contextvars.Context())
        return _Polled(poller, polling)

    def _ends_of(self, project: str) -> Ends:
        if project not in self._ends:
            who = project, self.cursors, self.clock, self.settings
            self._ends[project] = Ends(*who, on_end=self._told, began=self._began)
        return self._ends[project]

    async def _told(self, end: EndedTask) -> bool:
        return self.on_end is None or await self.on_end(end)

    async def _poll(self, poller: Poller) -> None:
        """Polls until nobody uses the poller; what a poll has shown is told to its end."""
        try:
            while not poller.unused:
                await poller.turn()
            del self._polled[poller.project]
            self.poll_lease.leave(poller.project)
        finally:
            await poller.aclose()

    def _observe(self, project: str, tasks: Sequence[task_pb2.Task]) -> None:
        for observe in self.observers:
            observe(project, tasks)

    # Those who wait
    # ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def follow(
        self, project: str, ids: Iterable[str], on_end: Callable[[str], None]
    ) -> Iterator[None]:
        """Until left, tells `on_end` of each task once it has ended, or CBR does not know it."""
        with self.used(project) as poller:
            follower = _Follower(poller, set(ids), on_end)
            poller.listeners.add(follower.take)
            try:
                poller.want(NEVER, follower.left)
                follower.take(News())
                yield
            finally:
                poller.listeners.discard(follower.take)

    async def since(
        self, project: str, since_us: int, asked_at: float
    ) -> tuple[list[task_pb2.Task], bool]:
        """All tasks created since then as a poll showed them that began after `asked_at`, by the
        monotonic clock; and whether all rows of its list could be understood.

        Raises GatewayError, and KeyError for a project that is not served.
        """
        self.source.reader.known(project)
        moved = asyncio.Event()

        def take(_news: News) -> None:
            moved.set()

        with self.used(project, waiting=False) as poller:
            poller.listeners.add(take)
            try:
                while not poller.shows(since_us, asked_at):
                    if poller.failure is not None and (poller.outages or moved.is_set()):
                        raise poller.failure
                    moved.clear()
                    poller.want(since_us, (), fresh=poller.listed_at < asked_at)
                    await moved.wait()
            finally:
                poller.listeners.discard(take)
            if poller.table.floor_us > since_us:
                # It was too much to keep.
                return await self.source.reader.understood(
                    created_since(since_us), task_pb2.Task, project
                )
            rows = poller.table.rows.values()
            return [row.task for row in rows if row.created_us >= since_us], poller.whole

    async def told(self, project: str) -> Cursor | None:
        """How far ends of tasks of a project were told, by whichever process."""
        return await self._ends_of(project).recall()

    # The life of the process
    # ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until left; then nothing is polled any more."""
        tasks = [asyncio.create_task(self.poll_lease.run())]
        if self.settings.follow == "always":
            tasks.append(asyncio.create_task(self._keep_up()))
        try:
            yield
        finally:
            tasks += [polled.polling for polled in self._polled.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_up(self) -> None:
        """Has every project polled that is served."""
        while True:
            served = set(self.projects())
            for project in self._kept - served:
                self._kept.discard(project)
                self.leave(project, waiting=False)
            for project in served - self._kept:
                self._kept.add(project)
                self.use(project, waiting=False)
                # The first polls of many projects are spread.
                await self.clock.sleep(_SPREAD_S)
            await self.clock.sleep(_LOOK_S)
