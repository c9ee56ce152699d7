"""The embedded store: operations, counters and words in one SQLite file of one process, rates and
leases in memory.

Its wall clock ends reservations; a clock that jumps ahead ends them early, which `sent` then tells.
What is forgotten for good has to be old by another clock, too.
"""

import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence

from gateway.clock import Clock
from gateway.state import sqlite_counters as counters
from gateway.state import sqlite_ledger as ledger
from gateway.state import sqlite_views as views
from gateway.state.alone import NobodyElse, OwnLimits
from gateway.state.counters import NO_TOTALS, Total, Usage
from gateway.state.operation import Begun, Changes, Operation, OperationView, State
from gateway.state.sqlite_here import SqlHere
from gateway.state.sqlite_queues import SqliteQueues
from gateway.state.sqlite_thread import SqlThread
from gateway.state.store import Store
from gateway.state.transitions import Event


def sqlite_store(database: SqlThread | SqlHere, clock: Clock, replay_ttl_s: float) -> Store:
    """All roles on one open file."""
    limits = OwnLimits(clock)
    return Store(
        operations=SqliteOperations(database, clock, replay_ttl_s),
        counters=SqliteCounters(database, clock),
        rates=limits,
        leases=limits,
        channel=NobodyElse(),
        overrides=SqliteOverrides(database),
        anchors=SqliteWords(database, "anchor", "writer"),
        cursors=SqliteWords(database, "cursor", "name"),
        queues=SqliteQueues(database),
        life=SqliteLife(database),
    )


class SqliteOperations:
    """An OperationStore."""

    def __init__(self, database: SqlThread | SqlHere, clock: Clock, replay_ttl_s: float) -> None:
        self._database = database
        self._clock = clock
        self._replay_ttl_s = replay_ttl_s
        self._opened_at, self._opened_time = clock.monotonic(), clock.time()

    async def begin(self, op: Operation) -> Begun:
        return await self._database.run(lambda db: ledger.begin(db, op, self._clock.time()))

    async def sent(self, op_id: str) -> bool:
        return await self._settle(op_id, Event.SENT) is State.SENT

    async def commit(
        self, op_id: str, response: bytes | None, resource_id: str = "", note: bytes = b""
    ) -> State:
        return await self._settle(op_id, Event.COMMIT, ledger.Result(response, resource_id, note))

    async def release(self, op_id: str) -> State:
        return await self._settle(op_id, Event.RELEASE)

    async def unknown(self, op_id: str) -> State:
        return await self._settle(op_id, Event.UNKNOWN)

    async def note(self, op_id: str, note: bytes, before: bytes) -> bool:
        return await self._database.run(lambda db: ledger.note(db, op_id, note, before))

    async def _settle(
        self, op_id: str, event: Event, result: ledger.Result = ledger.NO_RESULT
    ) -> State:
        return await self._database.run(
            lambda db: ledger.settle(db, op_id, event, self._clock.time(), result)
        )

    async def sweep(self, clocks: Sequence[float]) -> int:
        ran_s = self._clock.monotonic() - self._opened_at
        if not clocks and ran_s >= self._replay_ttl_s:
            # What was there when it was opened has grown old since, whatever the time was then.
            clocks = (self._opened_time + ran_s,)

        def work(db: sqlite3.Connection) -> int:
            now = self._clock.time()
            if clocks:
                ledger.forget(db, min(now, *clocks), self._replay_ttl_s)
            return ledger.expire(db, now)

        return await self._database.run(work)

    async def get(self, op_id: str) -> OperationView | None:
        return await self._database.run(lambda db: views.get(db, op_id))

    async def in_states(self, tenant: str | None, states: Collection[State]) -> list[OperationView]:
        return await self._database.run(lambda db: views.in_states(db, tenant, states))

    async def opened(self, after: str, most: int) -> list[OperationView]:
        return await self._database.run(lambda db: views.opened(db, after, most))

    async def committed_within(self, seconds: float) -> list[OperationView]:
        return await self._database.run(
            lambda db: views.committed_since(db, self._clock.time() - seconds)
        )

    async def on_topic(self, topic: str, since: float) -> list[OperationView]:
        return await self._database.run(lambda db: views.on_topic(db, topic, since))

    async def recent(self, topic: str, before: str, most: int) -> list[OperationView]:
        return await self._database.run(lambda db: views.recent(db, topic, before, most))

    async def changes(self, topic: str, after: str) -> Changes:
        return await self._database.run(lambda db: views.changes(db, topic, after))


class SqliteCounters:
    """Counters."""

    def __init__(self, database: SqlThread | SqlHere, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def usage(self, keys: Sequence[str]) -> Mapping[str, Usage]:
        return await self._database.run(lambda db: counters.usage(db, keys, self._clock.time()))

    async def fence(self) -> int:
        return await self._database.run(counters.next_sequence)

    async def adjust(
        self, key: str, delta: int, resource_id: str, since: int | None = None
    ) -> bool:
        return await self._database.run(
            lambda db: counters.adjust(
                db, key, delta, resource_id, since=since, now=self._clock.time()
            )
        )

    async def recount(
        self,
        counts: Mapping[str, int],
        fence: int,
        seen_ids: Collection[str],
        settle_s: float = 0.0,
        sums: Mapping[str, Total] = NO_TOTALS,
    ) -> None:
        listing = counters.Listing(counts, fence, seen_ids, settle_s, sums)
        await self._database.run(lambda db: counters.recount(db, listing, self._clock.time()))


class SqliteOverrides:
    """A VersionedKeyValue."""

    def __init__(self, database: SqlThread | SqlHere) -> None:
        self._database = database

    async def put(self, key: str, value: bytes) -> None:
        def work(db: sqlite3.Connection) -> None:
            upsert = (
                "INSERT INTO override VALUES (?, ?) ON CONFLICT DO UPDATE SET value ="
                " excluded.value WHERE value != excluded.value"
            )
            _count_change(db, db.execute(upsert, (key, value)).rowcount)

        await self._database.run(work)

    async def delete(self, key: str) -> None:
        await self._database.run(
            lambda db: _count_change(
                db, db.execute("DELETE FROM override WHERE key = ?", (key,)).rowcount
            )
        )

    async def all(self) -> Mapping[str, bytes]:
        return await self._database.run(
            lambda db: dict(db.execute("SELECT key, value FROM override"))
        )

    async def version(self) -> int:
        return await self._database.run(lambda db: int(_meta(db, "overrides")))


class SqliteWords:
    """A SingleKeyValue, in one table; `column`: that of its keys."""

    def __init__(self, database: SqlThread | SqlHere, table: str, column: str) -> None:
        self._database = database
        self._put = f"INSERT OR REPLACE INTO {table} VALUES (?, ?)"  # noqa: S608 - our own name
        self._get = f"SELECT value FROM {table} WHERE {column} = ?"  # noqa: S608 - as above
        self._all = f"SELECT {column}, value FROM {table}"  # noqa: S608 - as above

    async def put(self, key: str, value: bytes) -> None:
        await self._database.run(lambda db: db.execute(self._put, (key, value)))

    async def get(self, key: str) -> bytes:
        row = await self._database.run(lambda db: db.execute(self._get, (key,)).fetchone())
        return bytes(row[0]) if row is not None else b""

    async def all(self) -> Mapping[str, bytes]:
        return await self._database.run(lambda db: dict(db.execute(self._all)))


class SqliteLife:
    """A Life: of a file, which only this process could have emptied; so it is asked for once."""

    def __init__(self, database: SqlThread | SqlHere) -> None:
        self._database = database
        self._epoch = ""

    async def epoch(self) -> str:
        if not self._epoch:
            self._epoch = await self._database.run(lambda db: str(_meta(db, "epoch")))
        return self._epoch

    async def age_s(self) -> float:
        return math.inf

    async def told(self, process: str) -> None:
        """Nothing was forgotten."""

    async def silence_s(self) -> float:
        return math.inf

    async def time(self) -> float | None:
        return None


def _count_change(db: sqlite3.Connection, changed: int) -> None:
    db.execute("UPDATE meta SET value = value + ? WHERE key = 'overrides'", (changed,))


def _meta(db: sqlite3.Connection, key: str) -> str | int:
    (value,) = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    known: str | int = value
    return known
