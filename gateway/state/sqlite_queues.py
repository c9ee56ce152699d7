"""Queues in SQL; see `Queues`."""

import json
import sqlite3
from collections.abc import Sequence

from gateway.state.queues import Queued
from gateway.state.sqlite_here import SqlHere
from gateway.state.sqlite_thread import SqlThread


class SqliteQueues:
    """Queues, in one table."""

    def __init__(self, database: SqlThread | SqlHere) -> None:
        self._database = database

    async def put(self, queue: str, key: str, value: bytes, most: int) -> list[Queued]:
        def work(db: sqlite3.Connection) -> list[Queued]:
            insert = "INSERT OR IGNORE INTO queued (queue, key, value) VALUES (?, ?, ?)"
            if not db.execute(insert, (queue, key, value)).rowcount:
                return []
            over = _length(db, queue) - most
            return _take(db, queue, over) if over > 0 else []

        return await self._database.run(work)

    async def read(self, queue: str, after: int, most: int) -> list[Queued]:
        return await self._database.run(lambda db: _read(db, queue, after, most))

    async def last(self, queue: str) -> Queued | None:
        return await self._database.run(lambda db: _last(db, queue))

    async def remove(self, queue: str, keys: Sequence[str]) -> None:
        await self._database.run(lambda db: _remove(db, queue, keys))

    async def length(self, queue: str) -> int:
        return await self._database.run(lambda db: _length(db, queue))


def _read(db: sqlite3.Connection, queue: str, after: int, most: int) -> list[Queued]:
    where = "WHERE queue = ? AND position > ? ORDER BY position LIMIT ?"
    rows = db.execute(f"SELECT position, key, value FROM queued {where}", (queue, after, most))  # noqa: S608 - our own text
    return [Queued(*row) for row in rows]


def _last(db: sqlite3.Connection, queue: str) -> Queued | None:
    where = "WHERE queue = ? ORDER BY position DESC LIMIT 1"
    row = db.execute(f"SELECT position, key, value FROM queued {where}", (queue,)).fetchone()  # noqa: S608 - our own text
    return Queued(*row) if row else None


def _take(db: sqlite3.Connection, queue: str, count: int) -> list[Queued]:
    taken = _read(db, queue, 0, count)
    _remove(db, queue, [each.key for each in taken])
    return taken


def _remove(db: sqlite3.Connection, queue: str, keys: Sequence[str]) -> None:
    which = "queue = ? AND key IN (SELECT value FROM json_each(?))"
    db.execute(f"DELETE FROM queued WHERE {which}", (queue, json.dumps(list(keys))))  # noqa: S608 - our own text


def _length(db: sqlite3.Connection, queue: str) -> int:
    counted = "SELECT count(*) FROM queued WHERE queue = ?"
    return int(db.execute(counted, (queue,)).fetchone()[0])
