"""Reading a log as people do: all its records, without a key and without proof. What a failed or cut write left behind is passed over."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.audit.chain import stated
from gateway.audit.segments import SegmentFile, gist, segments

Row = dict[str, Any]
"""One record as its JSON object."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted; an empty member matches everything. `operation` matches a part of it, `since` is milliseconds since 1970."""

    tenant: str = ""
    operation: str = ""
    resource: str = ""
    uid: str = ""
    since: int = 0
    own: bool = False
    """Also the records in which the log speaks of itself."""

    def matches(self, row: Row) -> bool:
        marks = row["metadata"]
        return (
            row["time"] >= self.since
            and (self.own or row["unmapped"]["stage"] != "LOG")
            and self.tenant in {"", marks.get("tenant_uid")}
            and self.operation.lower() in row["api"]["operation"].lower()
            and self.uid in {"", marks.get("correlation_uid")}
            and (not self.resource or any(each["uid"] == self.resource for each in row.get("resources", ())))
        )


def rows(directory: Path, query: Query) -> list[Row]:
    """All that match, by time; records of one writer stay in their order. Raises OSError."""
    found: list[tuple[int, Row]] = []
    for files in segments(directory).values():
        latest = 0
        for row in _all(files):
            # A clock that was set back must not tear a writer's order apart.
            latest = max(latest, row["time"])
            if query.matches(row):
                found.append((latest, row))
    return [row for _, row in sorted(found, key=lambda pair: pair[0])]


def _all(files: Sequence[SegmentFile]) -> Iterator[Row]:
    for index, each in enumerate(files):
        lines = each.data().split(b"\n")[:-1]
        ends = _abandoned_at(files[index + 1]) if index + 1 < len(files) else None
        for line in lines:
            yield from _row(line)
            said = stated(line)
            if ends is not None and said is not None and said.sequence == ends:
                break


def _abandoned_at(following: SegmentFile) -> int | None:
    try:
        header = gist(following.data().partition(b"\n")[0]).unmapped.segment
    except msgspec.MsgspecError:
        return None
    previous = header.previous if header is not None else None
    return previous.sequence if previous is not None and previous.abandoned else None


def _row(line: bytes) -> Iterator[Row]:
    try:
        gist(line)
        yield msgspec.json.decode(line, type=Row)
    except msgspec.MsgspecError:
        return


def follow(directory: Path, query: Query, pause: Callable[[float], None] = time.sleep) -> Iterator[Row]:
    """What is written from now on, without end."""
    seen = {(each.writer, each.number): len(each.data()) for files in segments(directory).values() for each in files}
    while True:
        for files in segments(directory).values():
            for each in files:
                data = each.data()[seen.get((each.writer, each.number), 0) :]
                whole, mark, _ = data.rpartition(b"\n")
                seen[each.writer, each.number] = seen.get((each.writer, each.number), 0) + len(whole) + len(mark)
                for line in whole.split(b"\n"):
                    yield from (row for row in _row(line) if query.matches(row))
        pause(0.3)


def told(row: Row) -> str:
    """One line for a person."""
    unmapped, response = row["unmapped"], row["api"].get("response", {})
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(row["time"] / 1000))
    who = f"{row['metadata'].get('tenant_uid', '-')}/{row['actor'].get('user', {}).get('name', '-')}"
    what = " ".join(f"{each['type']}={each['uid']}" for each in row.get("resources", ()))
    # Names come from callers, and a terminal acts on what it is shown.
    end = " ".join(part for part in (row.get("status_code", ""), response.get("error", ""), unmapped.get("fate", "")) if part)
    text = f"{moment}Z {unmapped['event']:18} {who} {row['api']['operation']} {what} {end} {row['metadata'].get('correlation_uid', '')}".rstrip()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
