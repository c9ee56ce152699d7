"""Operations and counters in SQL.

Plain functions of a connection, each run as one transaction by the store's thread.
"""

import json
import math
import sqlite3
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gateway import failpoint
from gateway.state.store import (
    MAX_RESPONSE_BYTES,
    OPEN,
    Admitted,
    Begun,
    Changes,
    Charge,
    InProgress,
    Mismatch,
    Operation,
    OperationView,
    Refused,
    Replay,
    Shortage,
    State,
    Total,
    Usage,
    place_of,
)
from gateway.state.transitions import TRANSITIONS, Event, movement

_WITHIN: Final[Mapping[Event, failpoint.Name]] = {
    Event.SENT: "in_sent",
    Event.COMMIT: "in_commit",
    Event.RELEASE: "in_release",
    Event.UNKNOWN: "in_unknown",
}
_FIRST: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE counter (
  key TEXT PRIMARY KEY, committed INTEGER NOT NULL DEFAULT 0,
  reserved INTEGER NOT NULL DEFAULT 0, uncertain INTEGER NOT NULL DEFAULT 0,
  counted_at REAL, counted_fence INTEGER NOT NULL DEFAULT 0, expires_at REAL
) WITHOUT ROWID;
CREATE TABLE operation (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, rpc TEXT NOT NULL, request_id TEXT NOT NULL,
  fingerprint BLOB NOT NULL, state TEXT NOT NULL,
  charges TEXT NOT NULL, detail BLOB NOT NULL, created_at REAL NOT NULL,
  deadline REAL NOT NULL, settled_at REAL,
  sequence INTEGER, resource_id TEXT NOT NULL DEFAULT '', response BLOB
);
CREATE UNIQUE INDEX by_request ON operation (tenant, rpc, request_id)
  WHERE request_id != '' AND state NOT IN ('RELEASED', 'EXPIRED');
CREATE INDEX by_deadline ON operation (deadline) WHERE state = 'RESERVED';
CREATE INDEX by_settling ON operation (settled_at) WHERE settled_at IS NOT NULL;
CREATE INDEX by_sequence ON operation (sequence) WHERE sequence IS NOT NULL;
CREATE INDEX by_state ON operation (state, created_at);
CREATE TABLE adjustment (
  op_id TEXT, key TEXT, made_at REAL NOT NULL, PRIMARY KEY (op_id, key)) WITHOUT ROWID;
CREATE TABLE override (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('sequence', 0), ('overrides', 0);
"""
_NOTES: Final = """
ALTER TABLE operation ADD COLUMN topic TEXT NOT NULL DEFAULT '';
ALTER TABLE operation ADD COLUMN note BLOB NOT NULL DEFAULT x'';
CREATE INDEX by_topic ON operation (topic, created_at) WHERE topic != '';
"""
_ANCHORS: Final = """
CREATE TABLE anchor (writer TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID
"""
_CHANGES: Final = """
ALTER TABLE operation ADD COLUMN changed INTEGER;
CREATE INDEX by_change ON operation (topic, changed) WHERE topic != ''
"""
_VERSIONS: Final = (_FIRST, _NOTES, _ANCHORS, _CHANGES)
"""What each version of the file adds to the one before."""


def prepare(db: sqlite3.Connection) -> None:
    """Opens the file for this process alone and creates what is missing.

    Raises sqlite3.Error, also for a file of a later version.
    """
    # FULL: a reservation and the mark SENT survive a loss of power too, since the money is spent
    # upstream.
    db.executescript(
        "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
    )
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(_VERSIONS):
        raise sqlite3.NotSupportedError(f"it was written by a later version ({version})")
    for statements in _VERSIONS[version:]:
        # One by one: executescript would end the transaction, and a crash could leave half of the
        # tables.
        for statement in statements.split(";"):
            db.execute(statement)
    if version == 0:
        db.execute("INSERT INTO meta VALUES ('epoch', ?)", (uuid.uuid4().hex,))
    db.execute(f"PRAGMA user_version = {len(_VERSIONS)}")
    db.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class Result:
    """What a commit keeps."""

    response: bytes | None = None
    resource_id: str = ""
    note: bytes = b""


NO_RESULT: Final = Result()


@dataclass(frozen=True, slots=True)
class _Held:
    """A charge as it was reserved."""

    key: str
    amount: int
    expires_at: float | None

    def counts(self, now: float) -> bool:
        return self.expires_at is None or self.expires_at > now


def begin(db: sqlite3.Connection, op: Operation, now: float) -> Begun:
    if db.execute("SELECT 1 FROM operation WHERE id = ?", (op.id,)).fetchone():
        return Admitted()
    expire(db, now)
    if op.request_id and (known := _known(db, op)):
        return known
    refused: list[Shortage] = []
    noted: list[Shortage] = []
    for charge in op.charges:
        _forget_expired(db, charge.key, now)
        if shortage := _shortage(db, charge):
            (noted if charge.shadow else refused).append(shortage)
    if refused:
        return Refused(tuple(refused))
    held = [_Held(charge.key, charge.amount, charge.expires_at) for charge in op.charges]
    db.execute(
        "INSERT INTO operation (id, tenant, rpc, request_id, fingerprint, state, charges, detail,"
        " topic, created_at, deadline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(op.id, op.tenant, op.rpc, op.request_id, op.fingerprint, State.RESERVED),
            *(
                json.dumps([[h.key, h.amount, h.expires_at] for h in held]),
                op.detail,
                op.topic,
                now,
                now + op.ttl_s,
            ),
        ),
    )
    _move(db, held, State.ABSENT, State.RESERVED, now)
    _note_change(db, op.id)
    failpoint.reach("in_begin")
    return Admitted(tuple(noted))


def _known(db: sqlite3.Connection, op: Operation) -> Begun | None:
    row = db.execute(
        "SELECT id, fingerprint, state, response FROM operation WHERE tenant = ? AND rpc = ? AND"
        " request_id = ? AND request_id != '' AND state NOT IN ('RELEASED', 'EXPIRED')",
        (op.tenant, op.rpc, op.request_id),
    ).fetchone()
    if row is None:
        return None
    op_id, fingerprint, state, response = row
    if fingerprint != op.fingerprint:
        return Mismatch()
    return Replay(response) if state == State.COMMITTED else InProgress(op_id)


def _shortage(db: sqlite3.Connection, charge: Charge) -> Shortage | None:
    if charge.limit is None:
        return None
    row = db.execute(
        "SELECT committed, reserved FROM counter WHERE key = ?", (charge.key,)
    ).fetchone()
    committed, reserved = row or (0, 0)
    if committed + reserved + charge.amount <= charge.limit:
        return None
    return Shortage(charge.key, charge.limit, committed, reserved, charge.amount)


def _forget_expired(db: sqlite3.Connection, key: str, now: float) -> None:
    db.execute("DELETE FROM counter WHERE key = ? AND expires_at <= ?", (key, now))


def _move(
    db: sqlite3.Connection, held: Sequence[_Held], source: State, target: State, now: float
) -> None:
    committed, reserved, uncertain = movement(source, target)
    for charge in held:
        # A counter that was forgotten took the reservation with it.
        if charge.counts(now):
            db.execute(
                "INSERT INTO counter (key, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (charge.key, charge.expires_at),
            )
            db.execute(
                "UPDATE counter SET committed = committed + ?, reserved = reserved + ?, uncertain ="
                " uncertain + ? WHERE key = ?",
                (
                    committed * charge.amount,
                    reserved * charge.amount,
                    uncertain * charge.amount,
                    charge.key,
                ),
            )


def settle(
    db: sqlite3.Connection, op_id: str, event: Event, now: float, result: Result = NO_RESULT
) -> State:
    """Carries out one event; the state afterwards."""
    row = db.execute("SELECT state, charges FROM operation WHERE id = ?", (op_id,)).fetchone()
    source, charges = (State(row[0]), row[1]) if row else (State.ABSENT, "[]")
    target = TRANSITIONS[event][source]
    if target is not source:
        if source not in OPEN:
            _reclaim(db, op_id)
        _move(db, _parse(charges), source, target, now)
        db.execute(
            "UPDATE operation SET state = ?, settled_at = ?, response = ?, resource_id = ?, note ="
            " coalesce(nullif(?, x''), note), sequence = ? WHERE id = ?",
            (
                *(target, None if target in OPEN else now),
                (
                    result.response
                    if result.response is not None and len(result.response) <= MAX_RESPONSE_BYTES
                    else None
                ),
                *(
                    result.resource_id,
                    result.note,
                    next_sequence(db) if target is State.COMMITTED else None,
                    op_id,
                ),
            ),
        )
        _note_change(db, op_id)
        if place := _WITHIN.get(event):
            failpoint.reach(place)
    return target


def _reclaim(db: sqlite3.Connection, op_id: str) -> None:
    """An operation that had ended without effect counts after all.

    Its request_id is its own again, unless a repeat has it by now.
    """
    db.execute(
        "UPDATE operation AS own SET request_id = '' WHERE id = ? AND EXISTS (SELECT 1 FROM"
        " operation AS other WHERE other.tenant = own.tenant AND other.rpc = own.rpc AND"
        " other.request_id = own.request_id AND other.request_id != '' AND other.id != own.id AND"
        " other.state NOT IN ('RELEASED', 'EXPIRED'))",
        (op_id,),
    )


def _parse(charges: str) -> list[_Held]:
    return [_Held(key, amount, expires_at) for key, amount, expires_at in json.loads(charges)]


def next_sequence(db: sqlite3.Connection) -> int:
    (number,) = db.execute(
        "UPDATE meta SET value = value + 1 WHERE key = 'sequence' RETURNING value"
    ).fetchone()
    return int(number)


def expire(db: sqlite3.Connection, now: float) -> int:
    due = db.execute(
        "SELECT id FROM operation WHERE state = 'RESERVED' AND deadline <= ?", (now,)
    ).fetchall()
    for (op_id,) in due:
        settle(db, op_id, Event.EXPIRE, now)
    return len(due)


def forget(db: sqlite3.Connection, now: float, keep_s: float) -> None:
    """Removes what nobody can ask for again."""
    db.execute("DELETE FROM operation WHERE settled_at <= ?", (now - keep_s,))
    db.execute("DELETE FROM adjustment WHERE made_at <= ?", (now - keep_s,))
    db.execute("DELETE FROM counter WHERE expires_at <= ?", (now,))


def adjust(
    db: sqlite3.Connection, key: str, delta: int, resource_id: str, *, since: int | None, now: float
) -> None:
    fresh = db.execute(
        "INSERT INTO adjustment VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (resource_id, key, now)
    ).rowcount
    if not fresh:
        return
    db.execute("INSERT INTO counter (key) VALUES (?) ON CONFLICT DO NOTHING", (key,))
    missed = delta < 0 and since is not None
    db.execute(
        "UPDATE counter SET committed = max(0, committed + ?) WHERE key = ? AND NOT (? AND"
        " counted_fence > ?)",
        (delta, key, missed, since or 0),
    )
    failpoint.reach("in_adjust")


@dataclass(frozen=True, slots=True)
class Listing:
    """What a recount knows of CBR; see Store.recount."""

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
    query = (
        "SELECT id, resource_id, charges FROM operation WHERE sequence > ? OR (settled_at > ? AND"
        " state = 'COMMITTED')"
    )
    for op_id, resource_id, charges in db.execute(
        query, (listing.fence, now - listing.settle_s)
    ).fetchall():
        if op_id in seen or resource_id in seen:
            continue
        for charge in _parse(charges):
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
    return {key: Usage(*row) if row else Usage() for key, row in rows.items()}


def note(db: sqlite3.Connection, op_id: str, note: bytes, before: bytes) -> bool:
    replaced = (
        db.execute(
            "UPDATE operation SET note = ? WHERE id = ? AND note IN (?, ?)",
            (note, op_id, before, note),
        ).rowcount
        == 1
    )
    _note_change(db, op_id)
    return replaced


def _note_change(db: sqlite3.Connection, op_id: str) -> None:
    """Lets `changes` tell of it."""
    db.execute(
        "UPDATE operation SET changed = ? WHERE id = ? AND topic != ''", (next_sequence(db), op_id)
    )


_VIEW: Final = (
    "SELECT id, tenant, rpc, request_id, state, charges, detail, resource_id, created_at, note FROM"
    " operation"
)


def operations(
    db: sqlite3.Connection, tenant: str | None, states: Collection[State]
) -> list[OperationView]:
    where = (
        " WHERE state IN (SELECT value FROM json_each(?)) AND (tenant = ? OR ? IS NULL) ORDER BY"
        " created_at, rowid"
    )
    return [
        _view(row)
        for row in db.execute(_VIEW + where, (json.dumps(sorted(states)), tenant, tenant))
    ]


def opened(db: sqlite3.Connection, after: str, most: int) -> list[OperationView]:
    # State by state, so that each follows the index.
    where = " WHERE state = ? AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?"
    found = [
        _view(row)
        for state in OPEN
        for row in db.execute(_VIEW + where, (state, *place_of(after, -math.inf), most))
    ]
    return sorted(found, key=lambda view: (view.created_at, view.id))[:most]


def committed_since(db: sqlite3.Connection, since: float) -> list[OperationView]:
    return [
        _view(row)
        for row in db.execute(
            f"{_VIEW} WHERE settled_at >= ? AND state = 'COMMITTED' ORDER BY settled_at, rowid",
            (since,),
        )
    ]


def operation(db: sqlite3.Connection, op_id: str) -> OperationView | None:
    row = db.execute(f"{_VIEW} WHERE id = ?", (op_id,)).fetchone()
    return _view(row) if row else None


def on_topic(db: sqlite3.Connection, topic: str, since: float) -> list[OperationView]:
    where = " WHERE topic = ? AND topic != '' AND created_at >= ? ORDER BY created_at, rowid"
    return [_view(row) for row in db.execute(_VIEW + where, (topic, since))]


def recent(db: sqlite3.Connection, topic: str, before: str, most: int) -> list[OperationView]:
    where = (
        " WHERE topic = ? AND topic != '' AND (created_at, id) < (?, ?) ORDER BY created_at DESC,"
        " id DESC LIMIT ?"
    )
    return [
        _view(row) for row in db.execute(_VIEW + where, (topic, *place_of(before, math.inf), most))
    ]


def changes(db: sqlite3.Connection, topic: str, after: str) -> Changes:
    (position,) = db.execute("SELECT value FROM meta WHERE key = 'sequence'").fetchone()
    where = " WHERE topic = ? AND topic != '' AND changed > ? ORDER BY changed"
    rows = (
        [_view(row) for row in db.execute(_VIEW + where, (topic, int(after)))]
        if after
        else on_topic(db, topic, 0)
    )
    return Changes(rows, str(position))


def _view(row: Sequence[Any]) -> OperationView:
    op_id, owner, rpc, request_id, state, charges, *tail = row
    return OperationView(
        op_id,
        owner,
        rpc,
        request_id,
        State(state),
        tuple((c.key, c.amount) for c in _parse(charges)),
        *tail,
    )
