"""Counters in SQL, and the charges that move them.

Plain functions of a connection, each run within one transaction by the store's thread.
"""

import json
import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct

from gateway import failpoint
from gateway.state.counters import Charge, Shortage, Total, Usage
from gateway.state.operation import State
from gateway.state.transitions import movement

_MOVE: Final = (
    "INSERT INTO counter (key, expires_at, committed, reserved, uncertain) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET committed = committed + excluded.committed, reserved = reserved +"
    " excluded.reserved, uncertain = uncertain + excluded.uncertain"
)


class Held(Struct, frozen=True):
    """A charge as it was reserved."""

    key: str
    amount: int
    expires_at: float | None

    def counts(self, now: float) -> bool:
        return self.expires_at is None or self.expires_at > now


def parse(charges: str) -> list[Held]:
    return [Held(key, amount, expires_at) for key, amount, expires_at in json.loads(charges)]


def shortage_of(db: sqlite3.Connection, charge: Charge) -> Shortage | None:
    if charge.limit is None:
        return None
    row = db.execute(
        "SELECT committed, reserved FROM counter WHERE key = ?", (charge.key,)
    ).fetchone()
    committed, reserved = row or (0, 0)
    if committed + reserved + charge.amount <= charge.limit:
        return None
    return Shortage(charge.key, charge.limit, committed, reserved, charge.amount)


def forget_expired(db: sqlite3.Connection, key: str, now: float) -> None:
    db.execute("DELETE FROM counter WHERE key = ? AND expires_at <= ?", (key, now))


def move(
    db: sqlite3.Connection, held: Sequence[Held], source: State, target: State, now: float
) -> None:
    by = movement(source, target)
    if not any(by):
        return
    # A counter that was forgotten took the reservation with it.
    db.executemany(
        _MOVE,
        [
            (charge.key, charge.expires_at, *(each * charge.amount for each in by))
            for charge in held
            if charge.counts(now)
        ],
    )


def next_sequence(db: sqlite3.Connection) -> int:
    (number,) = db.execute(
        "UPDATE meta SET value = value + 1 WHERE key = 'sequence' RETURNING value"
    ).fetchone()
    return int(number)


def adjust(
    db: sqlite3.Connection, key: str, delta: int, resource_id: str, *, since: int | None, now: float
) -> bool:
    fresh = db.execute(
        "INSERT INTO adjustment VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (resource_id, key, now)
    ).rowcount
    if not fresh:
        return True
    db.execute("INSERT INTO counter (key) VALUES (?) ON CONFLICT DO NOTHING", (key,))
    missed = delta < 0 and since is not None
    taken = db.execute(
        "UPDATE counter SET committed = max(0, committed + ?) WHERE key = ? AND NOT (? AND"
        " counted_fence > ?)",
        (delta, key, missed, since or 0),
    ).rowcount
    failpoint.reach("in_adjust")
    return bool(taken)


_LATE: Final = (
    "SELECT id, resource_id, charges FROM operation INDEXED BY by_sequence WHERE sequence > ? AND"
    " instr(charges, ?) UNION SELECT id, resource_id, charges FROM operation INDEXED BY by_settling"
    " WHERE settled_at > ? AND state = 'COMMITTED' AND instr(charges, ?)"
)
"""Each part by its own index: SQLite would look at all that are kept by their state."""


class Listing(Struct, frozen=True):
    """What a recount knows of CBR; see Counters.recount."""

    counts: Mapping[str, int]
    fence: int
    seen_ids: Collection[str]
    settle_s: float
    sums: Mapping[str, Total]


def recount(db: sqlite3.Connection, listing: Listing, now: float) -> None:
    late = _late(db, listing, now) if listing.counts else {}
    for key, counted in listing.counts.items():
        db.execute("INSERT INTO counter (key) VALUES (?) ON CONFLICT DO NOTHING", (key,))
        db.execute(
            "UPDATE counter SET committed = ?, counted_at = ?, counted_fence = ? WHERE key = ? AND"
            " counted_fence < ?",
            (counted + late[key], now, listing.fence, key, listing.fence),
        )
    for key, total in listing.sums.items():
        _add_up(db, key, total)
    failpoint.reach("in_recount")


def _late(db: sqlite3.Connection, listing: Listing, now: float) -> dict[str, int]:
    """What was committed so lately that the listing may not show it."""
    seen, late = frozenset(listing.seen_ids), dict.fromkeys(listing.counts, 0)
    # What all their keys have in common: of other counters' changes the charges are not read.
    common = json.dumps(os.path.commonprefix([*late]))[1:-1]  # noqa: RUF071 - letters, no paths
    for op_id, resource_id, charges in db.execute(
        _LATE, (listing.fence, common, now - listing.settle_s, common)
    ).fetchall():
        if op_id in seen or resource_id in seen:
            continue
        for charge in parse(charges):
            gone = (resource_id, charge.key)
            if (
                charge.key in late
                and not db.execute(
                    "SELECT 1 FROM adjustment WHERE op_id = ? AND key = ?", gone
                ).fetchone()
            ):
                late[charge.key] += charge.amount
    return late


def _add_up(db: sqlite3.Connection, key: str, total: Total) -> None:
    query = (
        "SELECT coalesce(sum(committed), 0), coalesce(sum(reserved), 0), coalesce(sum(uncertain),"
        " 0), count(counted_at), min(counted_at), coalesce(max(counted_fence), 0) FROM counter"
        " WHERE key IN (SELECT value FROM json_each(?))"
    )
    committed, reserved, uncertain, counted, oldest, newest = db.execute(
        query, (json.dumps(total.parts),)
    ).fetchone()
    committed += total.assumed * (len(total.parts) - counted)
    db.execute("INSERT INTO counter (key) VALUES (?) ON CONFLICT DO NOTHING", (key,))
    db.execute(
        "UPDATE counter SET committed = ?, reserved = ?, uncertain = ?, counted_at = coalesce(?,"
        " counted_at), counted_fence = ? WHERE key = ?",
        (committed, reserved, uncertain, oldest, newest, key),
    )


def usage(db: sqlite3.Connection, keys: Sequence[str], now: float) -> dict[str, Usage]:
    query = (
        "SELECT committed, reserved, uncertain, counted_at FROM counter WHERE key = ? AND"
        " (expires_at IS NULL OR expires_at > ?)"
    )
    rows = {key: db.execute(query, (key, now)).fetchone() for key in keys}
    return {key: _usage(row) if row else Usage() for key, row in rows.items()}


def _usage(row: tuple[int, int, int, float | None]) -> Usage:
    committed, reserved, uncertain, counted_at = row
    return Usage(committed=committed, reserved=reserved, uncertain=uncertain, counted_at=counted_at)
