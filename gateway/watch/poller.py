"""Reads the tasks of one project again and again, for all who watch it.

A poll lists the tasks created since shortly before the newest one known, or since the oldest open
one; the few oldest open ones that this would make long are read one by one. What is open and not
listed is read, too. All moments are CBR's own, so that our clock does not matter.

Each task that is read by itself fails by itself (`unreadable.py`), and where the list cannot be
read, or does not come, single tasks go on being read. Only where CBR answers nothing at all is it
left alone for longer and longer.

Replicas take turns (`poll_lease.py`): what another one has read is taken in as if it were read
here, if it shows all that a poll of ours would ask for.

The first poll also lists what is open however old it is.

A project for which nobody waits is polled slowly, whatever is open in it.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from cbrgateway.v1 import errors_pb2, task_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import status_pb2
from msgspec import Struct
from msgspec.structs import replace

from gateway.clock import Clock, moment
from gateway.errors import GatewayError
from gateway.upstream.reader import UpstreamReader
from gateway.watch.ends import Ends
from gateway.watch.lists import Listed, Lists
from gateway.watch.poll_lease import PollLease
from gateway.watch.row import Row
from gateway.watch.settings import WatchSettings
from gateway.watch.single import Reads, SingleReads
from gateway.watch.table import NEVER, Listing, News, Table
from gateway.watch.unreadable import Failures, UnreadableTasks

_READS: Final = 200
_READS_WITHOUT_LIST: Final = 40
_PATIENCE_S: Final = 2.0
"""How long those who wait for single tasks wait for a list that does not come."""
_OLD_ONES: Final = 5
"""Open tasks that are read one by one rather than listed with all that was created after them."""
_GAP: Final = 0.1
"""The shortest pause between two polls, as a share of the interval while tasks are open."""
_OURS: Final = (0.9, 1.1)
_THEIRS: Final = (1.2, 1.4)
"""How long a pause is, as a share of the interval: who has polled goes on, unless it is late."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Listener = Callable[[News], None]
Observe = Callable[[str, Sequence[task_pb2.Task]], None]
"""Hears of all tasks of a project's list before anybody else."""


class Source(Struct, frozen=True):
    """Where tasks come from.

    `complete` adds the gateway's own fields to a task; `status_of`: the form that errors have in
    events.
    """

    reader: UpstreamReader
    complete: Callable[[str, task_pb2.Task], None]
    status_of: Callable[[GatewayError], status_pb2.Status]


class Poller:
    """One project's."""

    def __init__(
        self,
        project: str,
        source: Source,
        settings: WatchSettings,
        clock: Clock,
        poll_lease: PollLease,
        *,
        observe: Observe,
        ends: Ends,
    ) -> None:
        self.project, self.source, self.observe = project, source, observe
        self.table = Table(settings.keep_tasks, settings.lag_us)
        self.unreadable = UnreadableTasks(settings.busy_s, settings.backoff_s, settings.keep_tasks)
        self.listeners: set[Listener] = set()
        self.failure: GatewayError | None = None
        """Why the last list could not be read; None while lists can."""
        self.outages = 0
        """How many polls one after the other have read nothing at all."""
        self.whole = True
        """Whether all rows of the last list that could be read were understood."""
        self.waited_for = 0
        """How many wait for what polls show."""
        self.unused = False
        """Whether nobody needs another poll."""
        self._settings, self._clock, self._poll_lease, self._ends = (
            settings,
            clock,
            poll_lease,
            ends,
        )
        # More than twice what can be kept is not read.
        self._lists = Lists(source.reader, project, settings.lag_us, 2 * settings.keep_tasks)
        self._single = SingleReads(source.reader, project, self._ask)
        self._list_failures = 0
        self._list_at = 0.0
        self.listed_at = self.read_at = clock.monotonic()
        self.answered = False
        """Whether CBR has ever been read."""
        """When the last list that could be read and the last poll that read anything began, by the
        monotonic clock; before, when this was made.
        """
        self._asked_at = 0.0
        self._rested_at = 0.0
        self._next_at = 0.0
        self._busy_until = 0.0
        self._since_us = NEVER
        self._ids: dict[str, None] = {}
        """Somebody asked for them, and nothing is known of them yet."""
        self._moved = asyncio.Event()

    def now(self) -> Timestamp:
        """What events say of when something was seen."""
        return moment(self._clock.time())

    def nudge(self) -> None:
        """Something was changed: poll at once, and often for a while, as CBR may show it late."""
        self._busy_until = self._clock.monotonic() + self._settings.idle_s
        self._ask()

    def knows(self, task_id: str) -> bool:
        """Whether what CBR says of the task is known: its state, that there is none, or that it
        cannot be read.
        """
        return self.covers(NEVER, (task_id,))

    def covers(self, since_us: int, ids: Iterable[str]) -> bool:
        """Whether all that was created since then, and every id, is known as far as CBR tells."""
        now = self._clock.monotonic()
        return self.table.covers(
            since_us, (task_id for task_id in ids if not self.unreadable.is_settled(task_id, now))
        )

    def shows(self, since_us: int, asked_at: float) -> bool:
        """Whether a list that began after that moment of the monotonic clock has shown everything
        created since then, as far as it can be kept.
        """
        return self.listed_at >= asked_at and (
            self.table.low_watermark_us <= since_us or self.table.floor_us > since_us
        )

    def want(self, since_us: int, ids: Iterable[str], *, fresh: bool = False) -> None:
        """Lets the next poll reach back to that moment, and read these ids.

        `fresh`: poll even if all of that is known.
        """
        missing = {task_id: None for task_id in ids if not self.knows(task_id)}
        self._since_us = min(self._since_us, since_us)
        self._ids.update(missing)
        if fresh or not self.covers(since_us, missing):
            self._ask()

    def hurry(self) -> None:
        """Somebody waits from now on: poll at once."""
        self._ask()

    def stir(self) -> None:
        """Has `turn` see that nobody needs another poll."""
        self._moved.set()

    def _ask(self) -> None:
        self._asked_at = self._clock.monotonic()
        self._moved.set()

    # When
    # ----------------------------------------------------------------------------------------------

    async def turn(self) -> None:
        """One poll when it is time for it, unless nobody needs it any more by then."""
        await self._rest()
        if self.unused:
            return
        async with self._poll_lease.turn(self.project) as mine:
            if mine:
                await self._recall()
                await self._poll()
                await self._tell_ends()
                self._schedule(_OURS)
            else:
                self._rested_at = self._next_at = (
                    self._clock.monotonic() + self._settings.busy_s * _GAP
                )

    async def aclose(self) -> None:
        await self._single.aclose()

    async def _rest(self) -> None:
        """Until it is time to poll, which what others have read puts off."""
        while not self.unused and (left_s := self._due_at() - self._clock.monotonic()) > 0:
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._moved.wait()

    def _due_at(self) -> float:
        # Nobody's wish makes CBR well.
        asked = self._asked_at > self.read_at and not self.outages
        return min(self._rested_at, self._next_at) if asked else self._next_at

    def _schedule(self, shares: tuple[float, float]) -> None:
        now = self._clock.monotonic()
        moving = self.table.open or self.unreadable.waiting or now < self._busy_until
        untold = self.table.doubtful or self._ids or self._ends.waiting
        busy = untold or (self.waited_for and moving)
        pause_s = self._settings.busy_s if busy else self._settings.idle_s
        if self.failure is not None and self.outages:
            pause_s = self._backoff_s(self.failure, self.outages)
        self._rested_at = now + self._settings.busy_s * _GAP
        self._next_at = now + pause_s * random.uniform(*shares)  # noqa: S311 - spreads load
        self._moved.set()

    def _backoff_s(self, failure: GatewayError, failures: int) -> float:
        longest_s = self._settings.backoff_s
        return max(
            min(self._settings.busy_s * 2.0 ** min(failures - 1, 16), longest_s),
            min(failure.retry_after_s or 0.0, longest_s),
        )

    # Ends
    # ----------------------------------------------------------------------------------------------

    async def _recall(self) -> None:
        """Lets the poll reach back to what was told by whoever polled before."""
        cursor = await self._ends.recall()
        if cursor is not None:
            since_us = max(cursor.floor_us, self.table.floor_us)
            opened = [each for each in cursor.opened if not self.unreadable.given_up(each)]
            if not self.covers(since_us, opened):
                self.want(since_us, opened)

    async def _tell_ends(self) -> None:
        if self.outages:
            return
        try:
            cbr = self.source.reader.clock(self.project).now()
        except KeyError:
            return
        now_s = cbr.earliest if cbr is not None else self._clock.time()
        whole = self.failure is None and self.whole
        await self._ends.tell(self.table, round(now_s * 1e6), whole=whole)

    # One poll
    # ----------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        began = self._clock.monotonic()
        try:
            await self._look(began)
        except KeyError:
            self._failed(
                GatewayError(
                    errors_pb2.ERROR_REASON_PROJECT_DENIED,
                    "The gateway does not serve the project any more.",
                )
            )
        except Exception:
            log.exception("a poll of tasks failed inside", project=self.project)
            self._failed(
                GatewayError(
                    errors_pb2.ERROR_REASON_INTERNAL,
                    "The gateway failed inside while it read the tasks.",
                )
            )

    async def _look(self, began: float) -> None:
        listed, failure = None, self.failure
        if failure is None or self.outages or began >= self._list_at:
            coming = asyncio.create_task(self._list())
            try:
                await self._meanwhile(coming)
                listed, failure = await coming, None
            except GatewayError as error:
                failure = error
            finally:
                coming.cancel()
        bad = self._lists.bad() if listed is not None else {}
        reads = await self._read(listed)
        if failure is not None and not reads.answered:
            self._failed(failure)
            return
        tasks = (listed.tasks if listed is not None else {}) | reads.tasks
        whole = listed is not None and not bad
        listing = Listing(
            list(tasks.values()),
            reads.absent,
            NEVER if listed is None else listed.since_us,
            cut=listed is not None and listed.cut,
        )
        # As CBR said them: what is taken in gets fields that are this process's own.
        shared = task_pb2.ListTasksResponse(tasks=listing.tasks).SerializeToString()
        self._note(failure)
        # A task that is shown by itself needs no row.
        bad = {
            task_id: why
            for task_id, why in bad.items()
            if task_id and task_id not in reads.tasks and not self._ended(task_id)
        }
        self._take(listing, began, reads.failed, bad, whole=whole)
        if whole:
            await self._poll_lease.publish(self.project, listing, shared, began)

    async def _meanwhile(self, coming: asyncio.Task[Listed]) -> None:
        """Reads the tasks that somebody waits for one by one as long as the list does not come."""
        while not (await asyncio.wait({coming}, timeout=_PATIENCE_S))[0]:
            if self.waited_for:
                began = self._clock.monotonic()
                reads = await self._read(None)
                shown = Listing(list(reads.tasks.values()), reads.absent, NEVER)
                self._take(shown, began, reads.failed, {}, whole=False)

    def _ended(self, task_id: str) -> bool:
        known = self.table.rows.get(task_id)
        return known is not None and known.final

    def _note(self, failure: GatewayError | None) -> None:
        """Something was read. `failure`: why the list was not."""
        if failure is not None and (failure is not self.failure or self.outages):
            self._list_failures += 1
            self._list_at = self._clock.monotonic() + self._backoff_s(failure, self._list_failures)
        elif failure is None:
            self._list_failures = 0
        self.failure, self.outages = failure, 0

    def _failed(self, failure: GatewayError) -> None:
        """Nothing was read."""
        if self.failure is None and not failure.expected:
            log.warning("tasks cannot be read", project=self.project, error=str(failure))
        self.failure = failure
        self.outages += 1
        self._tell(News())

    def hear(self, listing: Listing, began: float) -> None:
        """What another replica has read in a poll that began then, by the monotonic clock."""
        if began > self.listed_at and self._shows_all(listing):
            self._note(None)
            self._take(listing, began, {}, {}, whole=True)
            self._schedule(_THEIRS)

    def _shows_all(self, listing: Listing) -> bool:
        """Whether a poll of ours would ask for nothing else."""
        if self.table.low_watermark_us == NEVER or not (
            listing.cut or listing.complete_since_us <= min(self._start_us(), self._since_us)
        ):
            return False
        shown = {*(task.id for task in listing.tasks), *listing.absent}
        return shown.issuperset(self._wanted())

    def _take(
        self, listing: Listing, began: float, asked: Failures, listed: Failures, *, whole: bool
    ) -> None:
        """`asked`: why tasks could not be read by themselves; `listed`: why rows could not;
        `whole`: all rows were understood.
        """
        if listing.complete_since_us < NEVER:
            self.observe(self.project, listing.tasks)
            self.listed_at, self.whole = began, whole
        news = self._taken(listing)
        self.read_at = began
        self.answered = True
        self._tell(replace(news, readable=self._readable(listing, news, asked, listed)))

    def _taken(self, listing: Listing) -> News:
        observed = self.now()
        rows = []
        for task in listing.tasks:
            if self.table.is_news(task):
                self.source.complete(self.project, task)
                rows.append(Row(task, observed))
        news = self.table.apply(rows, listing)
        if self.table.low_watermark_us <= self._since_us or self._since_us < self.table.floor_us:
            self._since_us = NEVER
        return news

    def _readable(
        self, listing: Listing, news: News, asked: Failures, listed: Failures
    ) -> dict[str, Row | None]:
        """Notes which tasks could not be read, and which can again; those that changed in this."""
        read = [*(task.id for task in listing.tasks), *(row.id for row in news.gone), *news.unknown]
        changed = [task_id for task_id in read if self.unreadable.forget(task_id)]
        changed += self.unreadable.take(asked, listed, self._clock.monotonic())
        rows = {task_id: self.table.rows.get(task_id) for task_id in changed}
        for task_id in changed:
            if self.unreadable.given_up(task_id):
                self.table.drop(task_id)
        self._ids = {task_id: None for task_id in self._ids if not self.knows(task_id)}
        return rows

    def _tell(self, news: News) -> None:
        for listener in list(self.listeners):
            listener(news)

    # What to read
    # ----------------------------------------------------------------------------------------------

    async def _list(self) -> Listed:
        first = self.table.low_watermark_us == NEVER
        found = await self._lists.opened() if first else {}
        recent = await (self._lists.newest() if first else self._lists.since(self._start_us()))
        if self._since_us < recent.since_us and not recent.cut:
            recent = await self._lists.since(self._since_us)
        # The later read of a task is the newer one.
        return Listed(found | recent.tasks, recent.since_us, recent.cut)

    def _start_us(self) -> int:
        """From when on to list."""
        overlap_us = self.table.latest_us - self._settings.lag_us
        opened = sorted(row.created_us for row in self.table.open.values())[_OLD_ONES:]
        return max(0, min([max(self.table.low_watermark_us, overlap_us), *opened[:1]]))

    def _wanted(self) -> list[str]:
        """Tasks that must be read by themselves where no list shows them."""
        now = self._clock.monotonic()
        asked = dict.fromkeys((*self._ids, *self.table.doubtful, *self.unreadable.due(now)))
        return [
            *asked,
            *(
                task_id
                for task_id in self.table.open
                if task_id not in asked and task_id not in self.unreadable
            ),
        ]

    async def _read(self, listed: Listed | None) -> Reads:
        shown = listed.tasks if listed is not None else {}
        missing = [task_id for task_id in self._wanted() if task_id not in shown]
        return await self._single.read(
            missing, _READS if listed is not None else _READS_WITHOUT_LIST, in_doubt=listed is None
        )
