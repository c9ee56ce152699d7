"""Operations in SQL: what begins and moves them.

Plain functions of a connection, each run as one transaction by the store's thread.
"""

import json
import sqlite3
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from gateway import failpoint
from gateway.state import sqlite_counters as counters
from gateway.state.counters import Refused, Shortage
from gateway.state.operation import (
    MAX_RESPONSE_BYTES,
    OPEN,
    Admitted,
    Begun,
    InProgress,
    Mismatch,
    Operation,
    Replay,
    State,
)
from gateway.state.transitions import TRANSITIONS, Event

_WITHIN: Final[Mapping[Event, failpoint.Name]] = {
    Event.SENT: "in_sent",
    Event.COMMIT: "in_commit",
    Event.RELEASE: "in_release",
    Event.UNKNOWN: "in_unknown",
}
_INSERT: Final = (
    "INSERT INTO operation (id, tenant, rpc, request_id, fingerprint, state, charges, detail,"
    " topic, created_at, deadline, changed) VALUES (:id, :tenant, :rpc, :request_id, :fingerprint,"
    " :state, :charges, :detail, :topic, :created_at, :deadline, :changed)"
)
_SETTLE: Final = (
    "UPDATE operation SET state = :state, settled_at = :settled_at, response = :response,"
    " resource_id = :resource_id, note = coalesce(nullif(:note, x''), note), sequence = :sequence,"
    " changed = iif(topic != '', :changed, NULL) WHERE id = :id"
)
"""`changed` lets `changes` tell of an operation that has a topic."""


class Result(Struct, frozen=True):
    """What a commit keeps."""

    response: bytes | None = None
    resource_id: str = ""
    note: bytes = b""

    @property
    def kept(self) -> bytes | None:
        """The answer, if it is not too long to be replayed."""
        short = self.response is not None and len(self.response) <= MAX_RESPONSE_BYTES
        return self.response if short else None


NO_RESULT: Final = Result()


def begin(db: sqlite3.Connection, op: Operation, now: float) -> Begun:
    if db.execute("SELECT 1 FROM operation WHERE id = ?", (op.id,)).fetchone():
        return Admitted()
    expire(db, now)
    if op.request_id and (known := _known(db, op)):
        return known
    refused: list[Shortage] = []
    noted: list[Shortage] = []
    for charge in op.charges:
        if charge.expires_at is not None:
            counters.forget_expired(db, charge.key, now)
        if shortage := counters.shortage_of(db, charge):
            (noted if charge.shadow else refused).append(shortage)
    if refused:
        return Refused(tuple(refused))
    held = [counters.Held(charge.key, charge.amount, charge.expires_at) for charge in op.charges]
    db.execute(
        _INSERT,
        {
            "id": op.id,
            "tenant": op.tenant,
            "rpc": op.rpc,
            "request_id": op.request_id,
            "fingerprint": op.fingerprint,
            "state": State.RESERVED,
            "charges": json.dumps([[h.key, h.amount, h.expires_at] for h in held]),
            "detail": op.detail,
            "topic": op.topic,
            "created_at": now,
            "deadline": now + op.ttl_s,
            "changed": counters.next_sequence(db) if op.topic else None,
        },
    )
    counters.move(db, held, State.ABSENT, State.RESERVED, now)
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
        counters.move(db, counters.parse(charges), source, target, now)
        sequence = counters.next_sequence(db)
        db.execute(
            _SETTLE,
            {
                "id": op_id,
                "state": target,
                "settled_at": None if target in OPEN else now,
                "response": result.kept,
                "resource_id": result.resource_id,
                "note": result.note,
                "sequence": sequence if target is State.COMMITTED else None,
                "changed": sequence,
            },
        )
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


def expire(db: sqlite3.Connection, now: float) -> int:
    due = db.execute(
        "SELECT id FROM operation INDEXED BY by_deadline WHERE state = 'RESERVED' AND deadline"
        " <= ?",
        (now,),
    ).fetchall()
    for (op_id,) in due:
        settle(db, op_id, Event.EXPIRE, now)
    return len(due)


def forget(db: sqlite3.Connection, now: float, keep_s: float) -> None:
    """Removes what nobody can ask for again."""
    db.execute("DELETE FROM operation WHERE settled_at <= ?", (now - keep_s,))
    db.execute("DELETE FROM adjustment WHERE made_at <= ?", (now - keep_s,))
    db.execute("DELETE FROM counter WHERE expires_at <= ?", (now,))


def note(db: sqlite3.Connection, op_id: str, note: bytes, before: bytes) -> bool:
    replaced = db.execute(
        "UPDATE operation SET note = ? WHERE id = ? AND note IN (?, ?)",
        (note, op_id, before, note),
    )
    db.execute(
        "UPDATE operation SET changed = ? WHERE id = ? AND topic != ''",
        (counters.next_sequence(db), op_id),
    )
    return replaced.rowcount == 1
