"""Where a log is written: files, or standard output.

Files: whole batches are appended, each on disk before `append` returns, and a new segment is begun
by size and age. What was written in part is never continued: after a failed write or sync its file
is not trusted again. The batch counts as not written, and the next one begins a new segment, whose
first record says where the chain had stood. A file that somebody removes, moves, replaces or
changes while it is written to is left, too: the batch counts only once it is in a file that stands
at its name.

Standard output, for containers whose output is collected: a record counts as kept once the system
has taken it.
"""

import contextlib
import errno
import math
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog
from msgspec import Struct, field

from gateway import failpoint
from gateway.audit import events
from gateway.audit.anchors import signed
from gateway.audit.chain import Head, Keys, seal
from gateway.audit.events import own_record
from gateway.audit.intents import Entry, OpenIntents
from gateway.audit.record import Anchor, Displaced, Previous, Segment
from gateway.audit.segments import Disk, SegmentFile, name_of, sync_folder

_TRIES: Final = 3
"""How often in a row the file of one batch may be taken away."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Sink(Protocol):
    """Where batches go. Used by one thread; every method may block."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Returns when all are durable. Raises OSError when none of them counts as written."""
        ...

    def checkpoint(self) -> Anchor | None:
        """Records the signed head, and returns the one after that; None when nothing was written
        since the last time. Raises OSError.
        """
        ...

    def close(self) -> Anchor | None:
        """Ends the log properly; its last head, if it has one. Raises OSError."""
        ...


class FileSink(Struct):
    """The segments of one writer.

    `opener` opens a file for appending; `on_closed` hears of each segment that was turned over.

    `hold` keeps the writer's name for this process, and says whether it had to take it anew. Raises
    OSError.
    """

    directory: Path
    writer: str
    keys: Keys
    max_bytes: int = sys.maxsize
    max_age_s: float = math.inf
    opener: Callable[..., Disk] = Disk
    on_closed: Callable[[SegmentFile], None] = lambda _segment: None
    hold: Callable[[], bool] = lambda: False
    head: Head = field(default_factory=Head)
    number: int = 0
    open: OpenIntents = field(default_factory=OpenIntents)
    _disk: Disk | None = None
    _size: int = 0
    _ends_at: float = math.inf
    _abandoned: bool = False
    _leftover: bool = False
    _anchored: int = 0
    _displaced: list[Displaced] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ends_at = time.monotonic() + self.max_age_s

    def append(self, entries: Sequence[Entry]) -> None:
        if self._size >= self.max_bytes or self._aged():
            self._turn_over()
        self._write(entries)
        for entry in entries:
            if entry.opens is not None:
                self.open.add(entry.opens)
            if entry.ends is not None:
                self.open.end(*entry.ends)

    def checkpoint(self) -> Anchor | None:
        self._look()
        # A writer that has nothing to record begins a segment as often as others: their times tell
        # that it was running.
        if self.head.sequence == self._anchored and not self._displaced and not self._aged():
            return None
        if self._aged():
            self._turn_over()
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

    def _aged(self) -> bool:
        return time.monotonic() >= self._ends_at

    def _turn_over(self) -> None:
        """Ends the segment that is written to, if there is one."""
        if self._disk is None:
            return
        self._write([Entry(own_record(events.LOG_CLOSED))])
        self._disk.close()
        self._disk = None
        self.on_closed(
            SegmentFile(
                self.writer, self.number, self.directory / name_of(self.writer, self.number)
            )
        )

    def _write(self, entries: Sequence[Entry]) -> None:
        """Raises OSError when they do not count as written."""
        for _ in range(_TRIES):
            self._look()
            if self._written(entries):
                return
        raise OSError(errno.ESTALE, "the file is taken away whenever it is written to")

    def _look(self) -> None:
        """Leaves the file that is written to, if it is not what it was.

        Raises OSError where another process has the writer's name.
        """
        taken = self.hold()
        if self._disk is not None and (
            cause := self._disk.displaced(self._size) or ("lost its lock" if taken else "")
        ):
            self._leave(cause)

    def _written(self, entries: Sequence[Entry]) -> bool:
        """Whether they are on disk, in a file that stands at its name."""
        fresh = self._disk is None
        if fresh:
            entries = [
                self._first(),
                *(
                    Entry(own_record(events.SEGMENT_DISPLACED, displaced=each))
                    for each in self._displaced
                ),
                *entries,
            ]
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
            cause = self._disk.displaced(self._size + len(data))
        except OSError:
            self._abandon(fresh=fresh)
            raise
        if cause:
            self._leave(cause)
            return False
        self.head, self._size = head, self._size + len(data)
        self._abandoned = self._leftover = False
        self._displaced.clear()
        return True

    def _leave(self, cause: str) -> None:
        """What was written up to here may be lost with the file; what is next stands in another."""
        log.error(
            "the audit log's file is not what it was; a new one is begun",
            file=name_of(self.writer, self.number),
            cause=cause,
        )
        self._displaced.append(
            Displaced(segment=self.number, sequence=self.head.sequence, cause=cause)
        )
        disk, self._disk = self._disk, None
        self._abandoned = True
        if disk is not None:
            with contextlib.suppress(OSError):
                disk.close()

    def _first(self) -> Entry:
        previous = None
        if self.number:
            mac = self.head.mac.hex()
            previous = Previous(
                segment=self.number, sequence=self.head.sequence, mac=mac, abandoned=self._abandoned
            )
        header = Segment(
            writer=self.writer, number=self.number + 1, previous=previous, open=tuple(self.open)
        )
        return Entry(own_record(events.LOG_OPENED, segment=header))

    def _begin(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.directory / name_of(self.writer, self.number + 1)
        if self._leftover:
            # What is there was never on disk for sure: no record in it was counted on. Whatever
            # else might stand there is not ours to remove.
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
                # The number is used again; `_begin` removes the file, and fails as long as it
                # cannot.
                self.number -= 1
        self._leftover = fresh and (disk is not None or self._leftover)
        self._abandoned = self._abandoned or not fresh


class StdoutSink(Struct):
    """Every process is a writer of its own, with one chain from its start to its end."""

    keys: Keys
    descriptor: int = 1
    writer: str = field(default_factory=lambda: uuid.uuid4().hex)
    head: Head = field(default_factory=Head)
    _anchored: int = 0
    _rest: bytes = b""
    _begun: Sequence[Entry] = ()
    """The batch to which the rest belongs."""

    def append(self, entries: Sequence[Entry]) -> None:
        # What was begun cannot be taken back, so after a failure the rest follows first. Of what is
        # owed since then, that has been written.
        self._flush()
        begun = {id(entry) for entry in self._begun}
        entries = [entry for entry in entries if id(entry) not in begun]
        if self.head.sequence == 0:
            entries = [
                Entry(own_record(events.LOG_OPENED, segment=Segment(writer=self.writer, number=1))),
                *entries,
            ]
        lines = []
        for entry in entries:
            line, self.head = seal(self.keys.chain, self.head, entry.body)
            lines.append(line)
        self._rest, self._begun = b"".join(lines), entries
        self._flush()
        self._begun = ()

    def _flush(self) -> None:
        while self._rest:
            self._rest = self._rest[os.write(self.descriptor, self._rest) :]

    def checkpoint(self) -> Anchor | None:
        if self.head.sequence == self._anchored:
            return None
        self.append([Entry(own_record(events.CHECKPOINT, anchor=self._signed()))])
        self._anchored = self.head.sequence
        return self._signed()

    def close(self) -> Anchor | None:
        if self.head.sequence == 0:
            return None
        self.append([Entry(own_record(events.LOG_CLOSED))])
        return self._signed()

    def _signed(self) -> Anchor:
        return signed(self.keys, self.writer, 1, self.head)
