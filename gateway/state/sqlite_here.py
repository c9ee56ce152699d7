"""An SQLite database in memory, asked from the event loop itself: there is no disk to wait for, and
a thread in between would cost more than what it does.
"""

import contextlib
import sqlite3
from typing import TypeVar

from gateway.state.errors import StoreDown
from gateway.state.sqlite_thread import Work

T = TypeVar("T")


class SqlHere:
    """Runs jobs one after another, each as one transaction; forgets everything when closed."""

    def __init__(self, prepare: Work[None]) -> None:
        self._db: sqlite3.Connection | None = sqlite3.connect(":memory:", isolation_level=None)
        prepare(self._db)

    async def run(self, work: Work[T]) -> T:
        """Raises what `work` raises, and then has changed nothing; StoreDown when SQLite fails."""
        db = self._db
        if db is None:
            raise StoreDown("the store is closed")
        try:
            db.execute("BEGIN")
            result = work(db)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(db)
            raise StoreDown(f"the store in memory failed: {error}") from error
        except BaseException:
            self._undo(db)
            raise
        return result

    async def close(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = None

    def _undo(self, db: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
