"""The embedded store: operations, counters and overrides in one SQLite file of one process, rates
and leases in memory.
"""

import asyncio
import math
import sqlite3
from collections.abc import Collection, Mapping, Sequence

from gateway.clock import Clock
from gateway.state import sqlite_ledger as ledger
from gateway.state.local import LocalLimits
from gateway.state.sqlite_thread import SqlThread
from gateway.state.store import (
    NO_TOTALS,
    Begun,
    Bucket,
    Changes,
    Heard,
    Leased,
    Operation,
    OperationView,
    Refused,
    Slot,
    State,
    Taken,
    Total,
    Usage,
)
from gateway.state.transitions import Event


class SqliteStore:
    """A Store.

    Its wall clock ends reservations; a clock that jumps ahead ends them early, which `sent` then
    tells.
    """

    def __init__(self, thread: SqlThread, clock: Clock, replay_ttl_s: float) -> None:
        self._thread = thread
        self._clock = clock
        self._replay_ttl_s = replay_ttl_s
        self._limits = LocalLimits(clock)

    async def begin(self, op: Operation) -> Begun:
        return await self._thread.run(lambda db: ledger.begin(db, op, self._clock.time()))

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
        return await self._thread.run(lambda db: ledger.note(db, op_id, note, before))

    async def _settle(
        self, op_id: str, event: Event, result: ledger.Result = ledger.NO_RESULT
    ) -> State:
        return await self._thread.run(
            lambda db: ledger.settle(db, op_id, event, self._clock.time(), result)
        )

    async def sweep(self) -> int:
        def work(db: sqlite3.Connection) -> int:
            now = self._clock.time()
            ledger.forget(db, now, self._replay_ttl_s)
            return ledger.expire(db, now)

        return await self._thread.run(work)

    async def adjust(
        self, key: str, delta: int, resource_id: str, since: int | None = None
    ) -> None:
        await self._thread.run(
            lambda db: ledger.adjust(
                db, key, delta, resource_id, since=since, now=self._clock.time()
            )
        )

    async def fence(self) -> int:
        return await self._thread.run(ledger.next_sequence)

    async def recount(
        self,
        counts: Mapping[str, int],
        fence: int,
        seen_ids: Collection[str],
        settle_s: float = 0.0,
        sums: Mapping[str, Total] = NO_TOTALS,
    ) -> None:
        listing = ledger.Listing(counts, fence, seen_ids, settle_s, sums)
        await self._thread.run(lambda db: ledger.recount(db, listing, self._clock.time()))

    async def usage(self, keys: Sequence[str]) -> Mapping[str, Usage]:
        return await self._thread.run(lambda db: ledger.usage(db, keys, self._clock.time()))

    async def operations(
        self, tenant: str | None, states: Collection[State]
    ) -> list[OperationView]:
        return await self._thread.run(lambda db: ledger.operations(db, tenant, states))

    async def opened(self, after: str, most: int) -> list[OperationView]:
        return await self._thread.run(lambda db: ledger.opened(db, after, most))

    async def committed_within(self, seconds: float) -> list[OperationView]:
        return await self._thread.run(
            lambda db: ledger.committed_since(db, self._clock.time() - seconds)
        )

    async def operation(self, op_id: str) -> OperationView | None:
        return await self._thread.run(lambda db: ledger.operation(db, op_id))

    async def on_topic(self, topic: str, since: float) -> list[OperationView]:
        return await self._thread.run(lambda db: ledger.on_topic(db, topic, since))

    async def recent(self, topic: str, before: str, most: int) -> list[OperationView]:
        return await self._thread.run(lambda db: ledger.recent(db, topic, before, most))

    async def changes(self, topic: str, after: str) -> Changes:
        return await self._thread.run(lambda db: ledger.changes(db, topic, after))

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        return self._limits.take(buckets)

    async def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        return self._limits.lease(holder, slots, ttl_s)

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        return self._limits.renew(holder, keys, ttl_s)

    async def free(self, holder: str, keys: Sequence[str]) -> None:
        self._limits.free(holder, keys)

    async def beat(self, process: str, ttl_s: float) -> tuple[bool, frozenset[str]]:  # noqa: ARG002 - the file ends with its process
        return True, frozenset({process})

    async def publish(self, channel: str, payload: bytes) -> None:
        """The only process knows it."""

    async def heard(self, after: Mapping[str, str]) -> list[Heard]:  # noqa: ARG002 - nobody else publishes
        await asyncio.Event().wait()
        return []

    async def put_override(self, key: str, value: bytes) -> None:
        def work(db: sqlite3.Connection) -> None:
            upsert = (
                "INSERT INTO override VALUES (?, ?) ON CONFLICT DO UPDATE SET value ="
                " excluded.value WHERE value != excluded.value"
            )
            _count_change(db, db.execute(upsert, (key, value)).rowcount)

        await self._thread.run(work)

    async def delete_override(self, key: str) -> None:
        await self._thread.run(
            lambda db: _count_change(
                db, db.execute("DELETE FROM override WHERE key = ?", (key,)).rowcount
            )
        )

    async def overrides(self) -> Mapping[str, bytes]:
        return await self._thread.run(
            lambda db: dict(db.execute("SELECT key, value FROM override"))
        )

    async def overrides_version(self) -> int:
        return int(await self._meta("overrides"))

    async def put_anchor(self, writer: str, anchor: bytes) -> None:
        await self._thread.run(
            lambda db: db.execute("INSERT OR REPLACE INTO anchor VALUES (?, ?)", (writer, anchor))
        )

    async def anchors(self) -> Mapping[str, bytes]:
        return await self._thread.run(
            lambda db: dict(db.execute("SELECT writer, value FROM anchor"))
        )

    async def ping(self) -> None:
        await self._thread.run(lambda db: db.execute("SELECT 1").fetchone())

    async def time(self) -> float | None:
        return None

    async def epoch(self) -> str:
        return str(await self._meta("epoch"))

    async def age_s(self) -> float:
        return math.inf

    async def _meta(self, key: str) -> str | int:
        def work(db: sqlite3.Connection) -> str | int:
            (value,) = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            known: str | int = value
            return known

        return await self._thread.run(work)


def _count_change(db: sqlite3.Connection, changed: int) -> None:
    db.execute("UPDATE meta SET value = value + ? WHERE key = 'overrides'", (changed,))
