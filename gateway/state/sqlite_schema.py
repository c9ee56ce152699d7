"""The tables of the SQLite file, version by version."""

import sqlite3
import uuid
from typing import Final

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
_CURSORS: Final = """
CREATE TABLE cursor (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID
"""
_QUEUES: Final = """
CREATE TABLE queued (
  position INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, key TEXT NOT NULL,
  value BLOB NOT NULL);
CREATE UNIQUE INDEX by_key ON queued (queue, key);
CREATE INDEX by_position ON queued (queue, position)
"""
_VERSIONS: Final = (_FIRST, _NOTES, _ANCHORS, _CHANGES, _CURSORS, _QUEUES)
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
    _upgrade(db)
    db.execute("COMMIT")


def try_out(db: sqlite3.Connection) -> list[bytes]:
    """As `prepare`, but leaves the file as it is. The anchors that it holds."""
    _upgrade(db)
    anchors = [value for (value,) in db.execute("SELECT value FROM anchor")]
    db.execute("ROLLBACK")
    return anchors


def _upgrade(db: sqlite3.Connection) -> None:
    """Begins a transaction with what is missing."""
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
