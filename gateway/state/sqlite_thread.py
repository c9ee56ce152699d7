"""One thread that owns the SQLite connection: the event loop never waits for the disk, and jobs
that wait together share one commit.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

from msgspec import Struct

from gateway.state.errors import StoreDown, StoreHeld
from gateway.state.timeouts import set_in_time

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Identity = tuple[tuple[int, int] | None, ...]

_GROUP: Final = 64
_HELD: Final = (
    ". Another process has it, such as another gateway: end that one, or give state.path a file of"
    " its own; replicas share a Valkey (state.kind)"
)


class _Job(Struct, frozen=True, eq=False):
    """`answer` is done early where nobody waits for it any more."""

    work: Work[Any]
    answer: asyncio.Future[Any]


class _Ended(Struct, frozen=True):
    """How a job ended."""

    job: _Job
    result: Any = None
    error: Exception | None = None


class SqlThread:
    """Runs jobs in turn, each as one transaction: its effect is on the disk before its answer, in
    the file that the next process will find.
    """

    def __init__(self, path: str, prepare: Work[None], timeout_s: float) -> None:
        self._path = path
        self._prepare = prepare
        self._timeout_s = timeout_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._thread = threading.Thread(target=self._main, name="gateway-state", daemon=True)

    async def open(self) -> None:
        """Raises StoreDown when the file cannot be used, such as while another process holds it."""
        self._thread.start()
        try:
            await asyncio.wrap_future(self._opened)
        except sqlite3.Error as error:
            held = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
            why = f"{error}{_HELD}" if held else str(error)
            raise (StoreHeld if held else StoreDown)(
                f"the file {self._path} cannot be used as a store: {why}"
            ) from error

    async def run(self, work: Work[T]) -> T:
        """Raises what `work` raises; StoreDown when the disk fails or takes too long, whereby a job
        that had not begun never will.
        """
        if not self._thread.is_alive():
            raise StoreDown("the store is closed")
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, answer))
        try:
            return await set_in_time(answer, self._timeout_s)
        except TimeoutError as error:
            raise StoreDown(f"the store did not answer within {self._timeout_s} s") from error
        except sqlite3.Error as error:
            raise StoreDown(f"the store's file failed: {error}") from error

    async def close(self) -> None:
        """Runs what was asked before, then closes the file."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _main(self) -> None:
        try:
            db = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            self._prepare(db)
        except sqlite3.Error as error:
            self._opened.set_exception(error)
            return
        opened = _identity(self._path)
        self._opened.set_result(None)
        while group := self._next_group():
            if _identity(self._path) == opened:
                _tell(_run_group(db, group))
            else:
                _tell([_Ended(job, error=self._moved()) for job in group])
        db.close()
        while job := self._left_over():
            _tell([_Ended(job, error=StoreDown("the store is closed"))])

    def _moved(self) -> StoreDown:
        """What is written to a file without a name is lost with this process."""
        return StoreDown(
            f"the file {self._path} was removed or replaced while it was in use. Put it back with"
            " its -wal; or restart the gateway, which then knows nothing of earlier request_ids"
        )

    def _next_group(self) -> list[_Job]:
        """Waits for a job and takes what else is there; empty at the end."""
        job = self._jobs.get()
        group: list[_Job] = []
        while job is not None:
            group.append(job)
            if len(group) == _GROUP or self._jobs.empty():
                return group
            job = self._jobs.get()
        if group:
            self._jobs.put(None)
        return group

    def _left_over(self) -> _Job | None:
        """A job that was put after the end."""
        while not self._jobs.empty():
            if job := self._jobs.get():
                return job
        return None


def _identity(path: str) -> Identity:
    """Which files the names of a database and of its log lead to now."""
    found: list[tuple[int, int] | None] = []
    for name in (path, f"{path}-wal"):
        try:
            known = os.stat(name)  # noqa: PTH116 - before every commit
        except OSError:
            found.append(None)
        else:
            found.append((known.st_dev, known.st_ino))
    return tuple(found)


def _run_group(db: sqlite3.Connection, group: list[_Job]) -> list[_Ended]:
    try:
        db.execute("BEGIN IMMEDIATE")
        ended = [_run_one(db, job) for job in group if not job.answer.done()]
        db.execute("COMMIT")
    except sqlite3.Error as error:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        return [_Ended(job, error=error) for job in group]
    return ended


def _run_one(db: sqlite3.Connection, job: _Job) -> _Ended:
    """Within a savepoint, so that a job that fails leaves nothing to the others; errors of the
    database end the whole group.
    """
    db.execute("SAVEPOINT job")
    try:
        result = job.work(db)
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - handed to who asked
        db.execute("ROLLBACK TO job")
        return _Ended(job, error=error)
    finally:
        if db.in_transaction:
            db.execute("RELEASE job")
    return _Ended(job, result)


def _tell(group: list[_Ended]) -> None:
    """Wakes the event loop once for all who wait."""
    if group:
        # Nobody waits any more in a loop that is closed.
        with contextlib.suppress(RuntimeError):
            group[0].job.answer.get_loop().call_soon_threadsafe(_answer, group)


def _answer(group: list[_Ended]) -> None:
    for each in group:
        if each.job.answer.done():
            continue
        if each.error is None:
            each.job.answer.set_result(each.result)
        else:
            each.job.answer.set_exception(each.error)
