"""Reading a log as people do: all its records, without a key and without proof.

What a failed or cut write left behind is passed over.
"""

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from gateway.audit.chain import decoded
from gateway.audit.segments import SegmentFile, Unreadable, counted, lines_of, raised, segments
from gateway.upstream.losses import amount

Row = dict[str, Any]
"""One record as its JSON object."""
_YEAR_10000_MS: Final = 253_402_300_800_000
_STATUSES: Final = {1: "succeeded", 2: "failed"}
_RESULTS: Final = {"DONE": "succeeded", "NOTHING": "failed", "PENDING": "pending"}
_TURNED_AWAY: Final = (
    *("INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION"),
    *("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"),
)
_SPECIAL: Final = {
    # A stream is opened before it is looked at what it was asked for.
    **{("STREAM_ENDED", code): "refused" for code in _TURNED_AWAY},
    # Whoever leaves a watch has not failed.
    ("STREAM_ENDED", "CANCELLED"): "other",
    ("READ_ENDED", "CANCELLED"): "other",
}
"""What ends otherwise than its status says, by event and code."""
_ENDS: Final = frozenset({"OUTCOME", "RECONCILED", "STREAM_END"})
OUTCOMES: Final = (
    *("succeeded", "failed", "timed_out", "partly_failed", "skipped", "gone", "other"),
    *("refused", "pending", "unknown"),
)
_Dated = tuple[int, Row]
"""A record and the latest time, in milliseconds, that its writer had written up to it."""


class _Marks(Struct, frozen=True):
    correlation_uid: str = ""
    tenant_uid: str = ""


class _User(Struct, frozen=True):
    name: str = ""


class _Actor(Struct, frozen=True):
    user: _User = _User()


class _Response(Struct, frozen=True):
    error: str = ""


class _Api(Struct, frozen=True):
    operation: str
    response: _Response = _Response()


class _Resource(Struct, frozen=True):
    type: str
    uid: str


class _Task(Struct, frozen=True):
    type: str = ""
    outcome: str = ""


class _LeftOut(Struct, frozen=True):
    count: int


class _Lost(Struct, frozen=True):
    type: str
    count: int
    uids: tuple[str, ...] = ()
    unknown: bool = False


class _Kind(Struct, frozen=True):
    stage: str
    event: str
    fate: str = ""
    replayed: bool = False
    validate_only: bool = False
    task: _Task = _Task()
    skipped_resources: _LeftOut | None = None
    losses: tuple[_Lost, ...] = ()


class _Presentable(Struct, frozen=True):
    """What a record must have so that it can be searched and shown."""

    time: Annotated[int, Meta(ge=0, lt=_YEAR_10000_MS)]
    metadata: _Marks
    actor: _Actor
    api: _Api
    unmapped: _Kind
    end_time: int = 0
    status_id: int = 0
    status_code: str = ""
    status_detail: str = ""
    resources: tuple[_Resource, ...] = ()


_presentable: Final = msgspec.json.Decoder(_Presentable)
_row_of: Final = msgspec.json.Decoder(Row)


class Query(msgspec.Struct, frozen=True):
    """What is wanted; an empty member matches everything.

    `principal`: its name, or `tenant/name` as it is shown. `operation` matches a part of it;
    `outcomes`: any of these; `since` and `until` are milliseconds since 1970: the record was
    written, or the work that it tells of ended, in between; `parents`: ids of the vaults that
    `resource` was in, so that it was deleted with them.
    """

    tenant: str = ""
    principal: str = ""
    operation: str = ""
    outcomes: tuple[str, ...] = ()
    resource: str = ""
    uid: str = ""
    since: int = 0
    until: int = 0
    own: bool = False
    """Also the records in which the log speaks of itself."""
    parents: frozenset[str] = frozenset()
    deletion: str = ""
    """The RPC that deletes a vault with all that is in it."""

    def matches(self, row: Row) -> bool:
        marks = row["metadata"]
        return (
            (self._spans(row["time"]) or self._spans(row.get("end_time") or row["time"]))
            and self._is_of(row)
            and (not self.outcomes or outcome(row) in self.outcomes)
            and (self.own or row["unmapped"]["stage"] != "LOG")
            and self.tenant in {"", marks.get("tenant_uid")}
            and self.operation.lower() in row["api"]["operation"].lower()
            and self.uid in {"", marks.get("correlation_uid")}
            and (not self.resource or self._concerns(row))
        )

    def _is_of(self, row: Row) -> bool:
        name = row["actor"].get("user", {}).get("name")
        full = f"{row['metadata'].get('tenant_uid', '')}/{name}" if name else name
        return self.principal in {"", name, full}

    def _spans(self, moment: int) -> bool:
        return moment >= self.since and (not self.until or moment < self.until)

    def _concerns(self, row: Row) -> bool:
        named = {each["uid"] for each in row.get("resources", ())}
        lost = row["unmapped"].get("losses", ())
        if any(self.resource in each.get("uids", ()) for each in lost):
            return True
        with_parent = self._deletes(row) and not self.parents.isdisjoint(named)
        return self.resource in named or with_parent

    def _deletes(self, row: Row) -> bool:
        """Whether it is about the deletion of a vault with all that is in it."""
        task, operation = row["unmapped"].get("task", {}), row["api"]["operation"]
        return bool(task.get("type") == "VAULT_DELETE" or operation == self.deletion)


def outcome(row: Row) -> str:
    """How what a record is about ended, in one word; empty where it is no end."""
    kind = row["unmapped"]
    if kind.get("stage") == "TASK_TERMINAL":
        return kind.get("task", {}).get("outcome", "") or "unknown"
    if (special := _SPECIAL.get((kind["event"], row.get("status_code", "")))) is not None:
        return special
    if kind["event"] == "CALL_REFUSED":
        return "refused"
    if "fate" in kind:
        return _RESULTS.get(kind["fate"], "unknown")
    return _STATUSES.get(row.get("status_id", 0), "") if kind.get("stage") in _ENDS else ""


def rows(
    directory: Path,
    query: Query,
    unreadable: Unreadable = raised,
    count: Callable[[], object] = lambda: None,
) -> Iterator[Row]:
    """All that match, by time; records of one writer stay in their order.

    Holds one segment of each writer at a time. `count` hears of each record that is read.
    """
    for row in _by_time(directory, unreadable):
        count()
        if query.matches(row):
            yield row


def completed(directory: Path, query: Query) -> Query:
    """With what its resource was in, for which the whole log is read."""
    if not query.resource:
        return query
    return replace(query, parents=_parents(directory, query.resource))


def _parents(directory: Path, resource: str) -> frozenset[str]:
    """Ids of the vaults that a resource was in."""
    found: set[str] = set()
    for row in _by_time(directory, lambda _segment, _error: None):
        named = row.get("resources", ())
        if any(each["uid"] == resource for each in named):
            found |= {each["uid"] for each in named if each["type"] == "vault"}
    return frozenset(found - {resource})


def _by_time(directory: Path, unreadable: Unreadable) -> Iterator[Row]:
    for _, row in heapq.merge(
        *(_dated(_rows(files, unreadable)) for files in segments(directory).values()), key=_moment
    ):
        yield row


def last_rows(
    directory: Path,
    count: int,
    unreadable: Unreadable,
    query: Query | None = None,
    late: Callable[[], bool] = lambda: False,
) -> list[Row]:
    """The last `count` records that match, by time.

    Reads no more segments than it takes, and of each writer none more once it is `late`.
    """
    wanted, found = query or Query(), []
    for files in segments(directory).values():
        theirs: list[Row] = []
        for each, following in reversed(list(zip_longest(files, files[1:]))):
            theirs = [
                row
                for line in lines_of(each, following, unreadable)
                for row in _row(line)
                if wanted.matches(row)
            ] + theirs
            if len(theirs) >= count or late():
                break
        found.append(list(_dated(theirs[-count:])))
    return [row for _, row in heapq.merge(*found, key=_moment)][-count:]


def _rows(files: Sequence[SegmentFile], unreadable: Unreadable) -> Iterator[Row]:
    return (row for line in counted(files, unreadable) for row in _row(line))


def _dated(theirs: Iterable[Row]) -> Iterator[_Dated]:
    latest = 0
    for row in theirs:
        # A clock that was set back must not tear a writer's order apart.
        latest = max(latest, row["time"])
        yield latest, row


def _moment(dated: _Dated) -> int:
    return dated[0]


def _row(line: bytes) -> Iterator[Row]:
    try:
        decoded(_presentable, line)
        yield decoded(_row_of, line)
    except msgspec.MsgspecError:
        # Somebody else's line may stand in the file; verification is what complains of it.
        return


def follow(
    directory: Path, query: Query, pause: Callable[[float], None] = time.sleep
) -> Iterator[Row]:
    """What is written from now on, without end.

    Of each writer only the segment that it writes to is read, from where the last look ended.

    Raises OSError.
    """
    lasts = {writer: files[-1] for writer, files in segments(directory).items()}
    # One that is packed is not written to any more.
    seen = {
        writer: (last.number + 1, 0) if last.packed else (last.number, _complete(last.data()))
        for writer, last in lasts.items()
    }
    while True:
        for writer, files in segments(directory).items():
            for each in files:
                number, begin = seen.get(writer, (0, 0))
                if each.number < number:
                    continue
                begin = begin if each.number == number else 0
                data = each.data(begin)
                end = _complete(data)
                seen[writer] = (each.number, begin + end)
                for line in data[:end].split(b"\n"):
                    yield from (row for row in _row(line) if query.matches(row))
        pause(0.3)


def _complete(data: bytes) -> int:
    """How many of the bytes are complete lines."""
    return data.rfind(b"\n") + 1


def _left_out(skipped: dict[str, Any]) -> str:
    nothing = ", nothing was started" if skipped.get("all") else ""
    return f"left out by CBR: {skipped['count']}{nothing}" if skipped else ""


def losses_told(row: Row) -> list[str]:
    """What was destroyed beside the object, for a person."""
    return [
        f"with {amount(each['type'], each['count'], unknown=each.get('unknown', False))}"
        for each in row["unmapped"].get("losses", ())
    ]


def as_text(row: Row) -> str:
    """One line for a person."""
    unmapped, response = row["unmapped"], row["api"].get("response", {})
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(row["time"] / 1000))
    who = (
        f"{row['metadata'].get('tenant_uid', '-')}/{row['actor'].get('user', {}).get('name', '-')}"
    )
    what = " ".join(f"{each['type']}={each['uid']}" for each in row.get("resources", ()))
    # Names come from callers, and a terminal acts on what it is shown.
    ended = (
        row.get("status_code", ""),
        response.get("error", ""),
        unmapped.get("fate", ""),
        "replayed" if unmapped.get("replayed") else "",
        "validate_only" if unmapped.get("validate_only") else "",
        "caught up" if unmapped.get("task", {}).get("caught_up") else "",
        _left_out(unmapped.get("skipped_resources", {})),
        *losses_told(row),
        row.get("status_detail", ""),
    )
    end = " ".join(part for part in ended if part)
    text = (
        f"{moment}Z {unmapped['event']:18} {outcome(row) or '-':13} {who}"
        f" {row['api']['operation']} {what} {end}"
        f" {row['metadata'].get('correlation_uid', '')}".rstrip()
    )
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
