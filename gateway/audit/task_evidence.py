"""Which records of a log tell of the ends of tasks: evidence for reports."""

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from gateway.audit.query import Query, rows
from gateway.audit.segments import SegmentFile

_TERMINAL = "TASK_TERMINAL"


class _StoppedError(Exception):
    """Nobody waits any more."""


class Found(Struct, frozen=True):
    """`records`: ids of records by task. `unreadable`: files that were left out."""

    records: Mapping[str, Sequence[str]]
    unreadable: int


def task_records(
    directory: Path, projects: Collection[str], since: float, stop: threading.Event
) -> Found:
    """Of tasks of these projects that ended since a time, in seconds since 1970.

    Reads the whole log, for as long as it takes; in a thread. `stop` ends it.
    """
    found: dict[str, list[str]] = defaultdict(list)
    bad: set[Path] = set()

    def unreadable(segment: SegmentFile, _error: OSError) -> None:
        bad.add(segment.path)

    def count() -> None:
        if stop.is_set():
            raise _StoppedError

    try:
        for row in rows(directory, Query(since=round(since * 1000)), unreadable, count):
            task = row["unmapped"].get("task", {})
            if (
                row["unmapped"]["stage"] == _TERMINAL
                and row.get("cloud", {}).get("project_uid") in projects
                and "uid" in task
            ):
                found[task["uid"]].append(row["metadata"].get("uid", ""))
    except _StoppedError:
        return Found({}, len(bad))
    return Found(found, len(bad))
