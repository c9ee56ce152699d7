"""Resume tokens: how far a stream has told what CBR shows, in CBR's own words, so that any replica
can go on without knowing the stream.

A token holds the latest moment at which a task had changed, the open tasks with their revisions,
and digests of what changed shortly before that moment, since CBR may list a task late. It is
bounded: of many tasks it names some, and has one sum for all others. Where CBR shows others than
those of the sum, none of them counts as told: they are told twice.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import Final, NamedTuple, TypeAlias

import msgspec
from cbrgateway.v1 import errors_pb2

from gateway.clock import Clock
from gateway.errors import GatewayError, Violation
from gateway.seal import Seal
from gateway.watch.row import DIGEST_BYTES, Row
from gateway.watch.selection import Selection
from gateway.watch.table import NEVER, Table

_SKEW_S: Final = 300
"""How far the clock of the replica that made a token may be ahead of ours."""
_MAX_OPEN: Final = 32
_MAX_SEEN: Final = 64
_AS_UUID: Final = b"u"
_AS_TEXT: Final = b"t"

SortKey: TypeAlias = tuple[int, str]
"""Where a row stands among those of its kind: a moment, then its id."""


def by_change(row: Row) -> SortKey:
    """The place of a task that has ended."""
    return row.changed_us, row.id


def by_age(row: Row) -> SortKey:
    """The place of a task that is open."""
    return row.created_us, row.id


class Rest(NamedTuple):
    """Rows that a token does not name: the place of the last one, and a sum of all their states."""

    moment_us: int = -1
    last: str = ""
    sum: int = 0

    @classmethod
    def of(cls, rows: Sequence[Row], place: Callable[[Row], SortKey]) -> "Rest":
        return cls(*place(rows[-1]), _sum(rows)) if rows else cls()

    def without_told(self, rows: list[Row], place: Callable[[Row], SortKey]) -> list[Row]:
        """Of rows that the token does not name, in their order, those that were not told."""
        up_to = (self.moment_us, self.last)
        count = sum(place(row) <= up_to for row in rows)
        return rows[count:] if _sum(rows[:count]) == self.sum else rows


def _sum(rows: Iterable[Row]) -> int:
    return reduce(lambda total, row: total ^ int.from_bytes(row.digest), rows, 0)


class Cursor(msgspec.Struct, array_like=True, frozen=True):
    """Where a stream is.

    Moments are in microseconds by CBR's clock, `made` in seconds since 1970 by ours.

    `begun`: False before the snapshot was complete; the rest then says nothing. `since_us`:
    creation of the oldest open task that is not in `opened`. `opened`: id and revision of open
    tasks; revision 0 for one whose state the filter does not show. `seen`: digests of ended tasks;
    `said`: of what was told of submissions, and of tasks that cannot be read.
    """

    made: int
    owner: bytes
    begun: bool = False
    newest_us: int = 0
    since_us: int = NEVER
    opened: tuple[tuple[bytes, int], ...] = ()
    seen: bytes = b""
    ended_rest: Rest = Rest()
    open_rest: Rest = Rest()
    said: bytes = b""

    def open_tasks(self) -> dict[str, int]:
        return {_unpacked(name): revision for name, revision in self.opened}

    def untold_ended(self, rows: Iterable[Row]) -> list[Row]:
        """Of all rows of ended tasks that may not have been told, those that were not, in order."""
        seen = _digests(self.seen)
        doubtful = sorted((row for row in rows if row.digest not in seen), key=by_change)
        return self.ended_rest.without_told(doubtful, by_change)

    def untold_open(self, rows: Iterable[Row]) -> list[Row]:
        """The same of open tasks, which the token does not name."""
        return self.open_rest.without_told(sorted(rows, key=by_age), by_age)

    def said_digests(self) -> frozenset[bytes]:
        return _digests(self.said)


def _digests(joined: bytes) -> frozenset[bytes]:
    return frozenset(
        joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES)
    )


class Told(msgspec.Struct, frozen=True):
    """What a stream has told, for a token.

    `ended`: tasks that ended lately, in order. `held`: ids and revisions of open tasks that the
    token has to name; `opened`: rows of those that it may name, in order. `since_us`: creation of
    the oldest open task that is in neither.
    """

    newest_us: int
    ended: Sequence[Row]
    opened: Sequence[Row]
    said: Iterable[bytes]
    held: Sequence[tuple[str, int]] = ()
    since_us: int = NEVER


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
            raise mismatch(
                "is not a token of this gateway; pass resume_token of the last event on unchanged,"
                " or start a new stream without a token"
            )
        cursor = msgspec.msgpack.decode(payload, type=Cursor)
        if cursor.owner != owner:
            raise mismatch(
                "belongs to another tenant, project or filter; keep the filter, or start a new"
                " stream without a token"
            )
        if cursor.made > self._clock.time() + _SKEW_S:
            raise mismatch("was made in the future; set the clocks of the gateway's replicas")
        return cursor

    def expired(self, cursor: Cursor) -> bool:
        return self._clock.time() - cursor.made > self._life_s

    def start(self, owner: bytes) -> str:
        """The token of a stream that has told nothing yet."""
        return self._write(Cursor(int(self._clock.time()), owner))

    def doubtful_since_us(self, newest_us: int, selection: Selection) -> int:
        """Since when ended tasks may be listed late: any, where it may become known late that they
        are meant.
        """
        return 0 if selection.by_id else newest_us - self.lag_us

    def make(
        self, owner: bytes, selection: Selection, table: Table, said: Iterable[bytes] = ()
    ) -> str:
        """The token of a stream that has told everything in the table."""
        rows = selection.among(table.rows) if selection.by_id else table.recent
        ended = [row for row in rows if row.final and selection.selects(row.task)]
        opened = sorted(selection.among(table.open), key=by_age)
        told = Told(table.newest_us, sorted(ended, key=by_change), opened, said)
        return self.after(told, owner, selection)

    def after(self, told: Told, owner: bytes, selection: Selection) -> str:
        """The token of a stream that has told just that."""
        room = max(0, _MAX_OPEN - len(told.held))
        named, others = told.opened[:room], told.opened[room:]
        others_since_us = others[0].created_us if others else NEVER
        revisions = ((row.id, row.revision if selection.shows(row.task) else 0) for row in named)
        cursor = Cursor(
            made=int(self._clock.time()),
            owner=owner,
            begun=True,
            newest_us=told.newest_us,
            since_us=min(told.since_us, others_since_us),
            opened=tuple((_packed(name), revision) for name, revision in (*told.held, *revisions)),
            seen=b"".join(row.digest for row in told.ended[-_MAX_SEEN:]),
            ended_rest=Rest.of(told.ended[:-_MAX_SEEN], by_change),
            open_rest=Rest.of([row for row in others if selection.shows(row.task)], by_age),
            said=b"".join(told.said),
        )
        return self._write(cursor)

    def _write(self, cursor: Cursor) -> str:
        return self._seal.write(msgspec.msgpack.encode(cursor))


def _packed(task_id: str) -> bytes:
    """A UUID takes 17 bytes; anything else one more than its letters."""
    try:
        packed = uuid.UUID(task_id)
    except ValueError:
        packed = uuid.UUID(int=0)
    return _AS_UUID + packed.bytes if str(packed) == task_id else _AS_TEXT + task_id.encode()


def _unpacked(name: bytes) -> str:
    return str(uuid.UUID(bytes=name[1:])) if name[:1] == _AS_UUID else name[1:].decode()


def mismatch(text: str) -> GatewayError:
    violation = Violation("resume_token", text, "resume_token")
    return GatewayError(
        errors_pb2.ERROR_REASON_RESUME_TOKEN_MISMATCH,
        f"resume_token: {text}",
        violations=(violation,),
    )


def expired(what_then: str) -> GatewayError:
    """RESUME_TOKEN_EXPIRED. `what_then`: what a new stream begins with."""
    text = (
        "resume_token: is too old to go on without a gap; start a new stream without a token, it"
        f" begins with {what_then}."
    )
    return GatewayError(errors_pb2.ERROR_REASON_RESUME_TOKEN_EXPIRED, text)
