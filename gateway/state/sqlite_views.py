"""Operations as they are read in SQL; see `OperationStore`."""

import json
import math
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

from gateway.state.operation import OPEN, Changes, OperationView, State, place_of
from gateway.state.sqlite_counters import parse

_VIEW: Final = (
    "SELECT id, tenant, rpc, request_id, state, charges, detail, resource_id, created_at, note FROM"
    " operation"
)


def in_states(
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
            f"{_VIEW} INDEXED BY by_settling WHERE settled_at >= ? AND state = 'COMMITTED'"
            " ORDER BY settled_at, rowid",
            (since,),
        )
    ]


def get(db: sqlite3.Connection, op_id: str) -> OperationView | None:
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
    op_id, tenant, rpc, request_id, state, charges, detail, resource_id, created_at, note = row
    return OperationView(
        id=op_id,
        tenant=tenant,
        rpc=rpc,
        request_id=request_id,
        state=State(state),
        charges=tuple((held.key, held.amount) for held in parse(charges)),
        detail=detail,
        resource_id=resource_id,
        created_at=created_at,
        note=note,
    )
