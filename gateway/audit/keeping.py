"""What happens to segments once they are closed: they are packed, and removed when they are older than the retention.

Removal is recorded before it happens, so that a gap at the beginning of a log is either explained by the log itself or a sign of tampering.
"""

import gzip
import math
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final

import structlog

from gateway.audit.chain import stated
from gateway.audit.record import Previous
from gateway.audit.segments import PACKED, SUFFIX, SegmentFile, segments

_DAY_S: Final = 86_400.0
_LOOK_S: Final = 3_600.0
_WAIT_S: Final = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Keeping:
    """The rules, and `recorded`: writes to a writer's log that its segments up to one are about to be removed; False if that is not on disk."""

    directory: Path
    writer: str
    compress: bool
    retention_days: float | None
    recorded: Callable[[str, Previous], bool]
    sent: Callable[[], int] | None = None
    """The number of the last record that a collector has, if there is one that wants all of them."""

    def pack(self, segment: SegmentFile) -> None:
        """Raises OSError; the plain file stays until the packed one is whole and on disk."""
        if not self.compress or segment.path.name.endswith(PACKED):
            return
        target = segment.path.with_name(segment.path.name.removesuffix(SUFFIX) + PACKED)
        draft = target.with_name(f".{target.name}")
        age = segment.path.stat()
        with segment.path.open("rb") as plain, draft.open("wb") as raw:
            draft.chmod(age.st_mode & 0o777)
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                shutil.copyfileobj(plain, packed)
            raw.flush()
            os.fsync(raw.fileno())
        os.utime(draft, ns=(age.st_atime_ns, age.st_mtime_ns))
        draft.rename(target)
        segment.path.unlink()

    def remove_old(self) -> None:
        """Raises OSError. The segment that is written to is never removed; of a writer that is gone one remains, which says what was removed."""
        if self.retention_days is None:
            return
        before = time.time() - self.retention_days * _DAY_S
        for writer, files in segments(self.directory).items():
            # Whether the last one of another writer is still written to, `recorded` finds out.
            closed = files[:-1] if writer == self.writer else files
            self._remove(writer, list(takewhile(lambda each: _written_at(each) < before, closed)))

    def _remove(self, writer: str, old: list[SegmentFile]) -> None:
        heads = ((each, stated(each.data().rstrip(b"\n").rpartition(b"\n")[2])) for each in reversed(old))
        # One that ends in the middle of a line is closed first, by the next process that takes up this log.
        last, head = next(((each, head) for each, head in heads if head is not None), (None, None))
        if last is None or head is None or (writer == self.writer and self.sent is not None and head.sequence > self.sent()):
            return
        if self.recorded(writer, Previous(segment=last.number, sequence=head.sequence, mac=head.mac.hex())):
            for each in old:
                if each.number <= last.number:
                    each.path.unlink()


def _written_at(segment: SegmentFile) -> float:
    """Seconds since 1970. One that its own process is packing just now is not old."""
    try:
        return segment.path.stat().st_mtime
    except FileNotFoundError:
        return math.inf


class Keeper:
    """Does this in a thread of its own: packing takes longer than any call would wait."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._closed: queue.SimpleQueue[SegmentFile | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="audit-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def closed(self, segment: SegmentFile) -> None:
        self._closed.put(segment)

    def close(self) -> None:
        self._closed.put(None)
        self._thread.join(_WAIT_S)

    def _run(self) -> None:
        files = segments(self._keeping.directory).get(self._keeping.writer, [])
        for each in files[:-1]:
            self._done(partial(self._keeping.pack, each))
        while True:
            self._done(self._keeping.remove_old)
            try:
                segment = self._closed.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if segment is None:
                return
            self._done(partial(self._keeping.pack, segment))

    @staticmethod
    def _done(work: Callable[[], None]) -> None:
        try:
            work()
        except OSError:
            log.exception("a closed segment of the audit log stays as it is")
