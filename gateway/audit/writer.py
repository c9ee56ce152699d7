"""The thread that writes: it takes everything that waits, writes it as one batch, and only then
tells those who asked.

Nobody else touches the disk, so the event loop never waits for it; and many calls at once share one
sync. When a write fails, what must not be lost is kept, and the thread tries again until the sink
takes records once more. Then they follow, with a count of those that had no room.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

import structlog
from msgspec import Struct

from gateway.audit import events
from gateway.audit.events import own_record
from gateway.audit.intents import Entry
from gateway.audit.record import Anchor
from gateway.audit.sinks import Sink
from gateway.audit.worker import Worker

MAX_WAITING: Final = 20_000
"""Records that wait or are owed; further ones are counted only, as are those without memory."""
_MAX_BYTES: Final = 64 << 20
_BATCH: Final = 512
_RETRY_S: Final = 0.25
_LINGER_S: Final = 0.02
"""How long records that nobody waits for may gather before they are written together."""
_LAST_S: Final = 2.0
"""For how long the last records are tried again."""
_CLOSE_S: Final = 10.0
"""What a disk that others keep busy may take for them."""
_FAILED: Final = "the audit log failed inside"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Refused(Exception):  # noqa: N818 - says what is the case
    """The record is not on disk and will not be counted on. The text says why."""


class _Pending(Struct, frozen=True):
    """An entry and who waits for it; without a waiter it is kept until it can be written."""

    entry: Entry
    waiter: asyncio.Future[None] | None = None


class Writer:
    """One per process.

    `submit` and `durable` are called on the event loop, everything else happens in the thread.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        timeout_s: float,
        anchor_s: float,
        anchored: Callable[[Anchor], None] = lambda _anchor: None,
    ) -> None:
        self._sink = sink
        self._timeout_s = timeout_s
        self._anchor_s = anchor_s
        self._anchored = anchored
        self._pending: deque[_Pending] = deque()
        self._owed: deque[_Pending] = deque()
        self._hurried = False
        self._lost = 0
        self._bytes = 0
        """Of all that wait or are owed."""
        self._down = ""
        self._retry_at = 0.0
        self.written_at = 0.0
        """When records were last made durable, in seconds since 1970; 0 before the first."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker = Worker("audit", self._run, close_s=_CLOSE_S)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worker.start()

    @property
    def waiting(self) -> int:
        """How many records are not on the disk yet."""
        return len(self._pending) + len(self._owed)

    @property
    def lost(self) -> int:
        """How many had no room, and are not told of yet."""
        return self._lost

    @property
    def trouble(self) -> str:
        """Why nothing can be written now; empty while it can."""
        if self._down:
            return self._down
        return "a write does not end" if self._worker.busy_s > self._timeout_s else ""

    def submit(self, entry: Entry) -> None:
        """Writes the record when it can. Never fails and never waits."""
        self._put(_Pending(entry))

    async def durable(self, entry: Entry) -> None:
        """Returns once the record is on disk.

        Raises Refused, after the timeout of the settings at the latest.
        """
        if reason := self.trouble:
            raise Refused(reason)
        waiter = asyncio.get_running_loop().create_future()
        if not self._put(_Pending(entry, waiter)):
            raise Refused("too many records wait")
        try:
            async with asyncio.timeout(self._timeout_s):
                await waiter
        except TimeoutError:
            raise Refused("a write does not end") from None

    async def aclose(self) -> None:
        """Writes what waits and ends the log; a sink that hangs is left behind."""
        ended = await asyncio.to_thread(self._worker.close)
        if not ended or self._owed or self._pending:
            log.error(
                "the audit log ended without its last records",
                records=len(self._owed) + len(self._pending) + self._lost,
            )

    def _put(self, each: _Pending) -> bool:
        with self._worker.bell:
            if len(self._pending) + len(self._owed) >= MAX_WAITING or self._bytes >= _MAX_BYTES:
                self._lost += each.waiter is None
                return False
            self._pending.append(each)
            self._bytes += len(each.entry.body)
            self._hurried = self._hurried or each.waiter is not None
            if self._hurried or len(self._pending) in {1, _BATCH}:
                self._worker.bell.notify()
        return True

    # The thread
    # ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        checked_at = time.monotonic()
        while True:
            batch, closing = self._next()
            if batch or self._owed or self._lost or self._down:
                self._write(batch)
            if time.monotonic() - checked_at >= self._anchor_s:
                checked_at = time.monotonic()
                self._head_from(self._sink.checkpoint)
            if closing:
                self._end()
                return

    def _next(self) -> tuple[list[_Pending], bool]:
        """What is to be written; waits for it, but not longer than until the next anchor or the
        next attempt is due.
        """
        worker = self._worker
        with worker.bell:
            if not self._pending and not worker.closing:
                worker.bell.wait(_RETRY_S if self._down else self._anchor_s)
            if self._pending:
                worker.bell.wait_for(
                    lambda: self._hurried or worker.closing or len(self._pending) >= _BATCH,
                    _LINGER_S,
                )
            self._hurried = False
            # The last ones share a write: each may take long where the disk is slow.
            most = MAX_WAITING if worker.closing else _BATCH
            batch = [self._pending.popleft() for _ in range(min(most, len(self._pending)))]
            return batch, worker.closing and not self._pending

    def _write(self, batch: list[_Pending]) -> None:
        if self._down:
            self._owe(batch, self._down)
            if time.monotonic() >= self._retry_at:
                self._pay()
        elif problem := self._appended(batch, recovered=bool(self._lost)):
            self._owe(batch, problem)
        else:
            self._answer(batch, "")
            self._done_with(batch)

    def _end(self) -> None:
        give_up_at = time.monotonic() + _LAST_S
        while self._down and time.monotonic() < give_up_at:
            self._pay()
            if self._down:
                time.sleep(_RETRY_S)
        self._head_from(self._sink.close)

    def _pay(self) -> None:
        """Writes what is owed, batch by batch, as long as that goes well; with the last one that
        records can be written again.
        """
        while self._down:
            part = [*islice(self._owed, _BATCH)]
            rest = len(self._owed) > len(part)
            if self._appended(part, recovered=not rest, more=rest):
                return
            for _ in part:
                self._owed.popleft()
            self._done_with(part)

    def _appended(self, batch: list[_Pending], *, recovered: bool, more: bool = False) -> str:
        """Why they were not written.

        `recovered`: a record tells of what was lost, too. `more`: the trouble is not over with
        them.
        """
        lost = self._lost
        entries = [each.entry for each in batch]
        if recovered:
            entries.append(Entry(own_record(events.LOG_RECOVERED, lost=lost)))
        problem = self._worker.tried(lambda: self._sink.append(entries), _FAILED)
        if problem:
            self._retry_at = time.monotonic() + _RETRY_S
        else:
            self.written_at = time.time()
        if recovered and not problem:
            with self._worker.bell:
                self._lost -= lost
        if problem or not more:
            self._judge(problem)
        return problem

    def _owe(self, batch: list[_Pending], problem: str) -> None:
        """Who waits is told; the others are kept."""
        self._answer(batch, problem)
        self._owed.extend(each for each in batch if each.waiter is None)
        self._done_with([each for each in batch if each.waiter is not None])

    def _done_with(self, pending: list[_Pending]) -> None:
        with self._worker.bell:
            self._bytes -= sum(len(each.entry.body) for each in pending)

    def _judge(self, problem: str) -> None:
        if problem and not self._down:
            log.error(
                "the audit log cannot be written; changes are refused until it can", cause=problem
            )
        if self._down and not problem:
            log.warning("the audit log is written again")
        self._down = problem

    def _answer(self, batch: list[_Pending], problem: str) -> None:
        waiters = [each.waiter for each in batch if each.waiter is not None]
        if waiters and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_tell, waiters, problem)

    def _head_from(self, work: Callable[[], Anchor | None]) -> None:
        """Hands over the chain's head, if it has moved."""
        if self._down:
            return
        found: list[Anchor | None] = []
        self._judge(self._worker.tried(lambda: found.append(work()), _FAILED))
        for anchor in found:
            if anchor is not None:
                self._anchored(anchor)


def _tell(waiters: list[asyncio.Future[None]], problem: str) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if problem:
            waiter.set_exception(Refused(problem))
        else:
            waiter.set_result(None)
