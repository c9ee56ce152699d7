"""A log in files: appends whole batches, each on disk before `append` returns, and turns over to a new segment by size and age.

What was written in part is never continued: after a failed write or sync its file is not trusted again. The batch counts as not written, and the
next one begins a new segment, whose first record says where the chain had stood.
"""

import contextlib
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from gateway import failpoint
from gateway.audit import events
from gateway.audit.anchors import signed
from gateway.audit.chain import Head, Keys, seal
from gateway.audit.intents import OpenIntents
from gateway.audit.own import own_record
from gateway.audit.record import Anchor, OpenIntent, Previous, Segment
from gateway.audit.segments import SegmentFile, name_of, sync_folder

_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Entry:
    """A record to be written. `opens`: the change of which it is the intent. `ends`: the id of a change and its fate, where the record tells that."""

    body: bytes
    opens: OpenIntent | None = None
    ends: tuple[str, str] | None = None


class Sink(Protocol):
    """Where batches go. Used by one thread; every method may block."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Returns when all are durable. Raises OSError when none of them counts as written."""
        ...

    def checkpoint(self) -> Anchor | None:
        """Records the signed head, and returns the one after that; None when nothing was written since the last time. Raises OSError."""
        ...

    def close(self) -> Anchor | None:
        """Ends the log properly; its last head, if it has one. Raises OSError."""
        ...


class Disk:
    """One open file for appending. Tests put a broken one in its place."""

    def __init__(self, path: Path, *, new: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
        self._fd = os.open(path, flags, _MODE)

    def write(self, data: bytes) -> None:
        """All of it. Raises OSError, also when the system takes a part only."""
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes were written")

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        os.close(self._fd)


@dataclass(slots=True)
class FileSink:
    """The segments of one writer. `opener` opens a file for appending; `on_closed` hears of each segment that was turned over."""

    directory: Path
    writer: str
    keys: Keys
    max_bytes: int = sys.maxsize
    max_age_s: float = math.inf
    opener: Callable[..., Disk] = Disk
    on_closed: Callable[[SegmentFile], None] = lambda _segment: None
    head: Head = field(default_factory=Head)
    number: int = 0
    open: OpenIntents = field(default_factory=OpenIntents)
    _disk: Disk | None = None
    _size: int = 0
    _ends_at: float = 0.0
    _abandoned: bool = False
    _leftover: bool = False
    _anchored: int = 0

    def append(self, entries: Sequence[Entry]) -> None:
        if self._disk is not None and (self._size >= self.max_bytes or time.monotonic() >= self._ends_at):
            self._turn_over()
        self._write(entries)
        for entry in entries:
            if entry.opens is not None:
                self.open.add(entry.opens)
            if entry.ends is not None:
                self.open.end(*entry.ends)

    def checkpoint(self) -> Anchor | None:
        if self.head.sequence == self._anchored:
            return None
        self._write([Entry(own_record(events.CHECKPOINT, anchor=self._signed()))])
        self._anchored = self.head.sequence
        return self._signed()

    def close(self) -> Anchor | None:
        if self._disk is None:
            return None
        self._write([Entry(own_record(events.LOG_CLOSED))])
        self._disk.close()
        self._disk = None
        return self._signed()

    def _signed(self) -> Anchor:
        return signed(self.keys, self.writer, self.number, self.head)

    def _turn_over(self) -> None:
        self._write([Entry(own_record(events.LOG_CLOSED))])
        assert self._disk is not None
        self._disk.close()
        self._disk = None
        self.on_closed(SegmentFile(self.writer, self.number, self.directory / name_of(self.writer, self.number)))

    def _write(self, entries: Sequence[Entry]) -> None:
        fresh = self._disk is None
        if fresh:
            entries = [self._first(), *entries]
        head, lines = self.head, []
        for entry in entries:
            line, head = seal(self.keys.chain, head, entry.body)
            lines.append(line)
        data = b"".join(lines)
        try:
            if fresh:
                self._begin()
            assert self._disk is not None
            self._disk.write(data)
            failpoint.reach("audit_written")
            self._disk.sync()
        except OSError:
            self._abandon(fresh=fresh)
            raise
        self.head, self._size = head, self._size + len(data)
        self._abandoned = self._leftover = False

    def _first(self) -> Entry:
        previous = None
        if self.number:
            mac = self.head.mac.hex()
            previous = Previous(segment=self.number, sequence=self.head.sequence, mac=mac, abandoned=self._abandoned)
        header = Segment(writer=self.writer, number=self.number + 1, previous=previous, open=tuple(self.open))
        return Entry(own_record(events.LOG_OPENED, segment=header))

    def _begin(self) -> None:
        path = self.directory / name_of(self.writer, self.number + 1)
        if self._leftover:
            # What is there was never on disk for sure: no record in it was counted on. Whatever else might stand there is not ours to remove.
            path.unlink(missing_ok=True)
        self._disk = self.opener(path, new=True)
        # At once, as `_abandon` counts it back as soon as there is a file, whatever fails next.
        self.number += 1
        self._size, self._ends_at = 0, time.monotonic() + self.max_age_s
        sync_folder(self.directory)

    def _abandon(self, *, fresh: bool) -> None:
        disk, self._disk = self._disk, None
        if disk is not None:
            with contextlib.suppress(OSError):
                disk.cut(self._size)
                disk.sync()
            with contextlib.suppress(OSError):
                disk.close()
            if fresh:
                # The number is used again; `_begin` removes the file, and fails as long as it cannot.
                self.number -= 1
        self._leftover = fresh and (disk is not None or self._leftover)
        self._abandoned = self._abandoned or not fresh
