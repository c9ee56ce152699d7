"""Resume tokens: how far a stream has told what CBR shows, in CBR's own words, so that any replica
can go on without knowing the stream.

A token holds the latest moment at which a task had changed, the open tasks with their revisions,
and digests of what changed shortly before that moment, since CBR may list a task late. It is
bounded: of many open tasks it holds the oldest, and the moment since when to look for the others;
what does not fit is told twice.
"""

import hashlib
import uuid
from collections.abc import Iterable
from typing import Final

import msgspec
from cbrgateway.v1 import errors_pb2

from gateway.clock import Clock
from gateway.errors import GatewayError, Violation
from gateway.seal import Seal
from gateway.watch.row import Row
from gateway.watch.selection import Selection
from gateway.watch.table import NEVER, Table

_SKEW_S: Final = 300
"""How far the clock of the replica that made a token may be ahead of ours."""
_MAX_OPEN: Final = 32
_MAX_SEEN: Final = 64
_DIGEST_BYTES: Final = 6
_AS_UUID: Final = b"u"
_AS_TEXT: Final = b"t"


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """Where a stream is.

    Moments are in microseconds by CBR's clock, `made` in seconds since 1970 by ours.

    `begun`: False before the snapshot was complete; the rest then says nothing. `since_us`:
    creation of the oldest open task that is not in `opened`. `opened`: id and revision of open
    tasks; revision 0 for one whose state the filter does not show.
    """

    made: int
    owner: bytes
    begun: bool = False
    newest_us: int = 0
    since_us: int = NEVER
    opened: tuple[tuple[bytes, int], ...] = ()
    seen: bytes = b""

    def open_tasks(self) -> dict[str, int]:
        return {_unpacked(name): revision for name, revision in self.opened}

    def has_told(self, row: Row) -> bool:
        digest = _digest(row)
        return any(
            self.seen[start : start + _DIGEST_BYTES] == digest
            for start in range(0, len(self.seen), _DIGEST_BYTES)
        )


class ResumeTokens:
    """Makes and reads tokens.

    `key`: secret shared by all replicas; `life_s`: how old a token may be; `lag_us`: how late CBR
    may list a task.
    """

    def __init__(self, key: bytes, clock: Clock, life_s: float, lag_us: int) -> None:
        self._seal = Seal(key, "resume")
        self._clock = clock
        self._life_s = life_s
        self.lag_us = lag_us

    def read(self, token: str, owner: bytes) -> Cursor:
        """Raises RESUME_TOKEN_MISMATCH."""
        payload = self._seal.read(token)
        if payload is None:
            raise _mismatch(
                "is not a token of this gateway; pass resume_token of the last event on unchanged,"
                " or start a new stream without a token"
            )
        cursor = msgspec.msgpack.decode(payload, type=Cursor)
        if cursor.owner != owner:
            raise _mismatch(
                "belongs to another tenant, project or filter; keep the filter, or start a new"
                " stream without a token"
            )
        if cursor.made > self._clock.time() + _SKEW_S:
            raise _mismatch("was made in the future; set the clocks of the gateway's replicas")
        return cursor

    def expired(self, cursor: Cursor) -> bool:
        return self._clock.time() - cursor.made > self._life_s

    def start(self, owner: bytes) -> str:
        """The token of a stream that has told nothing yet."""
        return self._write(Cursor(int(self._clock.time()), owner))

    def make(self, owner: bytes, selection: Selection, table: Table) -> str:
        """The token of a stream that has told everything in the table."""
        opened = sorted(selection.among(table.open), key=lambda row: (row.created_us, row.id))
        held, others = opened[:_MAX_OPEN], opened[_MAX_OPEN:]
        cursor = Cursor(
            made=int(self._clock.time()),
            owner=owner,
            begun=True,
            newest_us=table.newest_us,
            since_us=others[0].created_us if others else NEVER,
            opened=tuple(
                (_packed(row.id), row.revision if selection.shows(row.task) else 0) for row in held
            ),
            seen=self._seen(row for row in table.recent if selection.selects(row.task)),
        )
        return self._write(cursor)

    def _seen(self, rows: Iterable[Row]) -> bytes:
        newest = sorted(rows, key=lambda row: row.changed_us, reverse=True)[:_MAX_SEEN]
        return b"".join(map(_digest, newest))

    def _write(self, cursor: Cursor) -> str:
        return self._seal.write(msgspec.msgpack.encode(cursor))


def _digest(row: Row) -> bytes:
    return hashlib.blake2b(f"{row.id}/{row.revision}".encode(), digest_size=_DIGEST_BYTES).digest()


def _packed(task_id: str) -> bytes:
    """A UUID takes 17 bytes; anything else one more than its letters."""
    try:
        packed = uuid.UUID(task_id)
    except ValueError:
        packed = uuid.UUID(int=0)
    return _AS_UUID + packed.bytes if str(packed) == task_id else _AS_TEXT + task_id.encode()


def _unpacked(name: bytes) -> str:
    return str(uuid.UUID(bytes=name[1:])) if name[:1] == _AS_UUID else name[1:].decode()


def _mismatch(text: str) -> GatewayError:
    violation = Violation("resume_token", text, "resume_token")
    return GatewayError(
        errors_pb2.ERROR_REASON_RESUME_TOKEN_MISMATCH,
        f"resume_token: {text}",
        violations=(violation,),
    )


def expired() -> GatewayError:
    """RESUME_TOKEN_EXPIRED."""
    text = (
        "resume_token: is too old to go on without a gap; start a new stream without a token, it"
        " begins with a snapshot."
    )
    return GatewayError(errors_pb2.ERROR_REASON_RESUME_TOKEN_EXPIRED, text)
