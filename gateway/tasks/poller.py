"""Reads the tasks of one project again and again, for all who watch it.

A poll lists the tasks created since shortly before the newest one known, or since the oldest open one; the few oldest open ones that this would make
long are read one by one. What is open and not listed is read, too. All moments are CBR's own, so that our clock does not matter.

Replicas take turns (`turns.py`): what another one has read is taken in as if it were read here, if it shows all that a poll of ours would ask for.

The first poll also lists what is open however old it is. WAITING comes before RUNNING, so that a task which starts in between is in one of them.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from cbrgateway.v1 import errors_pb2, task_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2

from gateway.clock import Clock, moment
from gateway.errors import GatewayError
from gateway.tasks.row import Row, created_us
from gateway.tasks.table import NEVER, Listing, News, Table
from gateway.tasks.truth import Truth
from gateway.tasks.turns import Turns
from gateway.tasks.watch_settings import WatchSettings

_PAGE: Final = 200
_READS_AT_ONCE: Final = 8
_READS_PER_POLL: Final = 200
_OLD_ONES: Final = 5
"""Open tasks that are read one by one rather than listed with all that was created after them."""
_GAP: Final = 0.1
"""The shortest pause between two polls, as a share of the interval while tasks are open."""
_OURS: Final = (0.9, 1.1)
_THEIRS: Final = (1.2, 1.4)
"""How long a pause is, as a share of the interval: who has polled goes on with it, unless it comes late."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Listener = Callable[[News], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Where tasks come from. `complete` adds the gateway's own fields to a task; `observe` hears of all tasks of a poll before anybody else."""

    truth: Truth
    complete: Callable[[str, task_pb2.Task], None]
    observe: Callable[[str, Sequence[task_pb2.Task]], None]


class Poller:
    """One project's."""

    def __init__(self, project: str, source: Source, settings: WatchSettings, clock: Clock, turns: Turns) -> None:
        self.project = project
        self.table = Table(settings.keep_tasks, settings.lag_us)
        self.listeners: set[Listener] = set()
        self.failure: GatewayError | None = None
        """Why the last poll failed; None while polls succeed."""
        self._source, self._settings, self._clock, self._turns = source, settings, clock, turns
        self._failures = 0
        self.read_at = clock.monotonic()
        """When the last successful poll began, by the monotonic clock; before the first one, when the poller was made."""
        self._asked_at = 0.0
        self._rested_at = 0.0
        self._next_at = 0.0
        self._busy_until = 0.0
        self._since_us = NEVER
        self._ids: dict[str, None] = {}
        self._unreadable: set[str] = set()
        """Those of them that the last poll could not read, while it could read the list."""
        self._moved = asyncio.Event()

    @property
    def lag_s(self) -> float:
        """How old the newest knowledge is."""
        return self._clock.monotonic() - self.read_at

    def nudge(self) -> None:
        """Something was changed: poll at once, and often for a while, since CBR may show the new task late."""
        self._busy_until = self._clock.monotonic() + self._settings.idle_s
        self._ask()

    def want(self, since_us: int, ids: Iterable[str], *, fresh: bool = False) -> None:
        """Lets the next poll reach back to that moment, and read these ids. `fresh`: poll even if all of that is known."""
        missing = [task_id for task_id in ids if task_id not in self.table.rows and task_id not in self.table.unknown]
        self._since_us = min(self._since_us, since_us)
        self._ids.update(dict.fromkeys(missing))
        if fresh or not self._unreadable.issuperset(missing) or not self.table.covers(since_us, ()):
            self._ask()

    def _ask(self) -> None:
        self._asked_at = self._clock.monotonic()
        self._moved.set()

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            await self._rest()
            async with self._turns.turn(self.project) as mine:
                if mine:
                    await self._poll()
                    self._schedule(_OURS)
                else:
                    self._rested_at = self._next_at = self._clock.monotonic() + self._settings.busy_s * _GAP

    async def _rest(self) -> None:
        """Until it is time to poll, which what others have read puts off."""
        while (left_s := self._due_at() - self._clock.monotonic()) > 0:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._moved.wait()

    def _due_at(self) -> float:
        # Nobody's wish makes CBR well.
        asked = self._asked_at > self.read_at and not self._failures
        return min(self._rested_at, self._next_at) if asked else self._next_at

    def _schedule(self, shares: tuple[float, float]) -> None:
        now = self._clock.monotonic()
        self._rested_at = now + self._settings.busy_s * _GAP
        self._next_at = now + self._delay_s() * random.uniform(*shares)  # noqa: S311 - spreads load
        self._moved.set()

    def _delay_s(self) -> float:
        settings = self._settings
        if self.failure is not None:
            wait_s = min(settings.busy_s * 2.0 ** min(self._failures - 1, 16), settings.backoff_s)
            wait_s = max(wait_s, min(self.failure.retry_after_s or 0.0, settings.backoff_s))
        else:
            wait_s = settings.busy_s if self._busy else settings.idle_s
        return wait_s

    @property
    def _busy(self) -> bool:
        return bool(self.table.open or self.table.doubtful or self._ids) or self._clock.monotonic() < self._busy_until

    async def _poll(self) -> None:
        began = self._clock.monotonic()
        try:
            listing = await self._read()
            # As CBR said them: what is taken in gets fields that are this process's own.
            shared = task_pb2.ListTasksResponse(tasks=listing.tasks).SerializeToString()
            self._take(listing, began)
        except GatewayError as error:
            self._failed(error)
        except KeyError:
            self._failed(GatewayError(errors_pb2.ERROR_REASON_PROJECT_DENIED, "The gateway does not serve the project any more."))
        except Exception:
            log.exception("a poll of tasks failed inside", project=self.project)
            self._failed(GatewayError(errors_pb2.ERROR_REASON_INTERNAL, "The gateway failed inside while it read the tasks."))
        else:
            await self._turns.publish(self.project, listing, shared, began)

    def hear(self, listing: Listing, began: float) -> None:
        """What another replica has read in a poll that began at that moment of the monotonic clock."""
        if began > self.read_at and self._shows_all(listing):
            self._take(listing, began)
            self._schedule(_THEIRS)

    def _shows_all(self, listing: Listing) -> bool:
        """Whether a poll of ours would ask for nothing else."""
        if self.table.horizon_us == NEVER or not (listing.cut or listing.complete_since_us <= min(self._start_us(), self._since_us)):
            return False
        shown = {*(task.id for task in listing.tasks), *listing.absent}
        return shown.issuperset((*self.table.open, *self.table.doubtful, *self._ids))

    def _take(self, listing: Listing, began: float) -> None:
        self._source.observe(self.project, listing.tasks)
        news = self._taken(listing)
        self.read_at, self.failure, self._failures = began, None, 0
        self._tell(news)

    def now(self) -> Timestamp:
        """What events say of when something was seen."""
        return moment(self._clock.time())

    def _taken(self, listing: Listing) -> News:
        observed = self.now()
        rows = []
        for task in listing.tasks:
            if self.table.is_news(task):
                self._source.complete(self.project, task)
                rows.append(Row(task, observed))
        news = self.table.apply(rows, listing)
        if self.table.horizon_us <= self._since_us or self._since_us < self.table.floor_us:
            self._since_us = NEVER
        self._ids = {task_id: None for task_id in self._ids if task_id not in self.table.rows and task_id not in self.table.unknown}
        return news

    def _failed(self, error: GatewayError) -> None:
        if self.failure is None:
            log.warning("tasks cannot be read", project=self.project, error=str(error))
        self.failure = error
        self._failures += 1
        self._tell(News())

    def _tell(self, news: News) -> None:
        for listener in list(self.listeners):
            listener(news)

    # Reading -----------------------------------------------------------------------------------------------------------------------

    async def _read(self) -> Listing:
        first = self.table.horizon_us == NEVER
        found: dict[str, task_pb2.Task] = {}
        if first:
            for status in (task_pb2.TASK_STATUS_WAITING, task_pb2.TASK_STATUS_RUNNING):
                rows, _ = await self._list(status=status)
                found |= {task.id: task for task in rows}
        recent, since_us, cut = await (self._newest() if first else self._since(self._start_us()))
        if self._since_us < since_us and not cut:
            recent, since_us, cut = await self._since(self._since_us)
        # The later read of a task is the newer one.
        found |= {task.id: task for task in recent}
        wanted = [*self.table.open, *self.table.doubtful, *self._ids]
        missing = [task_id for task_id in dict.fromkeys(wanted) if task_id not in found][:_READS_PER_POLL]
        read = await self._get(missing)
        tasks = [*found.values(), *(task for task in read.values() if task is not None)]
        return Listing(tasks, [task_id for task_id, task in read.items() if task is None], since_us, cut)

    def _start_us(self) -> int:
        """From when on to list."""
        overlap_us = self.table.latest_us - self._settings.lag_us
        opened = sorted(row.created_us for row in self.table.open.values())[_OLD_ONES:]
        return max(0, min([max(self.table.horizon_us, overlap_us), *opened[:1]]))

    async def _newest(self) -> tuple[list[task_pb2.Task], int, bool]:
        """The newest tasks and since when they are all. CBR's order is not a promise, so that a page proves nothing unless it is in order."""
        page: Any = await self._source.truth.read("TaskService/ListTasks", self.project, {"page_size": _PAGE})
        tasks = list(page.tasks)
        if not page.next_page_token:
            return tasks, 0, False
        moments = [created_us(task) for task in tasks]
        if moments == sorted(moments, reverse=True):
            return tasks, moments[-1] + 1, False
        return await self._since(max(moments) - self._settings.lag_us)

    async def _since(self, since_us: int) -> tuple[list[task_pb2.Task], int, bool]:
        """All tasks created since then, the moment since which they are all, and whether there were too many."""
        seconds = max(since_us, 0) // 1_000_000
        tasks, whole = await self._list(**({"start_time": Timestamp(seconds=seconds)} if seconds else {}))
        if whole:
            return tasks, since_us, False
        return tasks, min(created_us(task) for task in tasks) + 1, True

    async def _list(self, **filters: object) -> tuple[list[task_pb2.Task], bool]:
        """The tasks, and whether they are all: more than twice what can be kept is not read."""
        tasks: list[task_pb2.Task] = []
        token = ""
        while True:
            asked = {**filters, "page_size": _PAGE, "page_token": token}
            page: Any = await self._source.truth.read("TaskService/ListTasks", self.project, asked)
            tasks += page.tasks
            token = page.next_page_token
            if not token or len(tasks) > 2 * self._settings.keep_tasks:
                return tasks, not token

    async def _get(self, ids: Sequence[str]) -> dict[str, task_pb2.Task | None]:
        read: dict[str, task_pb2.Task | None] = {}
        self._unreadable.clear()
        for start in range(0, len(ids), _READS_AT_ONCE):
            await asyncio.gather(*(self._get_one(task_id, read) for task_id in ids[start : start + _READS_AT_ONCE]))
        return read

    async def _get_one(self, task_id: str, read: dict[str, task_pb2.Task | None]) -> None:
        try:
            reply: Any = await self._source.truth.read("TaskService/GetTask", self.project, {"task_id": task_id})
        except GatewayError as error:
            if error.code == code_pb2.INVALID_ARGUMENT:
                # What CBR does not take for an id is the id of nothing.
                read[task_id] = None
                return
            if task_id in self.table.open:
                raise
            # The list could be read: one task that CBR cannot show keeps nobody from the others. The next poll asks for it again.
            self._unreadable.add(task_id)
            return
        read[task_id] = None if reply is None else reply.task
