"""What happens to segments once they are closed: they are packed, and removed when they are older
than the retention.

Removal is recorded before it happens, so that a gap at the beginning of a log is either explained
by the log itself or a sign of tampering.

How old a segment is follows from more than one clock's word. A clock that is set, or wrong when the
machine starts, says any age. What it cannot make is the time that writers were seen to run: they
begin segments again and again, by a clock that nobody sets, and each says when. So a segment is as
old as these moments show. What lies between two of them counts, but no more than the pause that is
usual, whatever the clock has done meanwhile.
"""

import errno
import gzip
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import structlog

from gateway.audit.chain import GENESIS, Head, Keys, follows, stated
from gateway.audit.record import Previous
from gateway.audit.segments import (
    PACKED,
    SUFFIX,
    Damaged,
    RecordHeader,
    SegmentFile,
    header_of,
    record_header,
    segments,
    sync_folder,
)
from gateway.audit.worker import Worker
from gateway.regular_file import reading

_DAY_S: Final = 86_400.0
_DAY_MS: Final = 1000 * _DAY_S
_SAME_MS: Final = 60_000.0
"""By how much clocks may differ without a word."""
_LOOK_S: Final = 3_600.0
_WAIT_S: Final = 5.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Retention(msgspec.Struct, frozen=True):
    """The rules, and `recorded`: writes to a writer's log that its segments up to one are about to
    be removed; False if that is not on disk.
    """

    directory: Path
    writer: str
    keys: Keys
    compress: bool
    retention_days: float | None
    recorded: Callable[[str, Previous], bool]
    clocks: Callable[[], Sequence[float]]
    """What clocks of other machines say now, as far as known: seconds since 1970."""
    sent: Callable[[], int] | None = None
    """The number of the last record that a collector has, if one wants all of them."""
    segment_s: float = _DAY_S
    """How often a writer that runs begins a segment, at least."""

    def pack(self, segment: SegmentFile) -> None:
        """Raises OSError; the plain file stays until the packed one is whole and on disk."""
        if not self.compress or segment.path.name.endswith(PACKED):
            return
        target = segment.path.with_name(segment.path.name.removesuffix(SUFFIX) + PACKED)
        draft = target.with_name(f".{target.name}")
        with reading(segment.path) as plain, draft.open("wb") as raw:
            draft.chmod(segment.path.stat().st_mode & 0o777)
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                shutil.copyfileobj(plain, packed)
            raw.flush()
            os.fsync(raw.fileno())
        draft.rename(target)
        sync_folder(self.directory)
        segment.path.unlink()

    def pack_all(self) -> None:
        """What an earlier process has left unpacked. Raises OSError."""
        for each in segments(self.directory).get(self.writer, [])[:-1]:
            self.pack(each)

    def remove_old(self) -> None:
        """The segment that is written to is never removed; of a writer that is gone one remains,
        which says what was removed. Raises OSError.
        """
        if self.retention_days is None:
            return
        now_ms = time.time() * 1000
        for writer, files in segments(self.directory).items():
            # Whether the last one of another writer is still written to, `recorded` finds out.
            closed = files[:-1] if writer == self.writer else files
            try:
                self._remove(writer, closed, now_ms)
            except OSError as error:
                log.warning(
                    "old segments of the audit log are not removed",
                    writer=writer,
                    cause=error.strerror,
                )

    def _remove(self, writer: str, closed: list[SegmentFile], now_ms: float) -> None:
        old, last = [], Head()
        for each in closed:
            head, time_ms = proven_end(each, self.keys)
            if not self._is_old(each, now_ms - time_ms, now_ms) or (
                writer == self.writer and self.sent is not None and head.sequence > self.sent()
            ):
                break
            old.append(each)
            last = head
        if old and self.recorded(
            writer, Previous(segment=old[-1].number, sequence=last.sequence, mac=last.mac.hex())
        ):
            for each in old:
                each.remove()

    def _is_old(self, segment: SegmentFile, age_ms: float, now_ms: float) -> bool:
        """By the clock, by the time that was seen to pass, and by the clock of somebody else: one
        may be wrong, and what was removed stays away.
        """
        assert self.retention_days is not None
        kept_ms = self.retention_days * _DAY_MS
        if age_ms < kept_ms:
            if age_ms < -_DAY_MS:
                text = (
                    "segments of the audit log are kept until a time that lies ahead: a clock was"
                    " wrong when this one was written, or is now"
                )
                log.warning(text, file=segment.path.name, days_ahead=round(-age_ms / _DAY_MS, 1))
            return False
        seen = seen_in(self.directory, self.keys)
        seen_ms = passed(
            seen, round(now_ms - age_ms), now_ms, min(2000 * self.segment_s, kept_ms / 2)
        )
        if seen_ms < kept_ms:
            text = (
                "old segments of the audit log are kept, since so much time was not seen to pass."
                " Is the clock right?"
            )
            log.warning(
                text,
                file=segment.path.name,
                days_by_the_clock=round(age_ms / _DAY_MS, 1),
                days_seen=round(seen_ms / _DAY_MS, 1),
            )
            return False
        return self._confirmed(segment, age_ms, now_ms)

    def _confirmed(self, segment: SegmentFile, age_ms: float, now_ms: float) -> bool:
        """Whether every other clock that is known calls it old as well, and there is one."""
        assert self.retention_days is not None
        told = self.clocks()
        if not told:
            text = (
                "old segments of the audit log are kept until another clock confirms their age:"
                " neither CBR's nor a Valkey's is known now"
            )
            log.warning(text, file=segment.path.name)
            return False
        ahead_ms = now_ms - 1000 * min(told)
        old = age_ms - ahead_ms >= self.retention_days * _DAY_MS
        if not old and ahead_ms > _SAME_MS:
            text = (
                "old segments of the audit log are kept, since another clock says that they are not"
                " old. Is the clock right?"
            )
            log.warning(text, file=segment.path.name, days_ahead=round(ahead_ms / _DAY_MS, 3))
        return old


class RetentionWorker:
    """Does this in a thread of its own: packing takes longer than any call would wait."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention
        self._closed: deque[SegmentFile] = deque()
        self._worker = Worker("audit-retention", self._run, close_s=_WAIT_S)

    def start(self) -> None:
        self._worker.start()

    def closed(self, segment: SegmentFile) -> None:
        with self._worker.bell:
            self._closed.append(segment)
            self._worker.bell.notify()

    def close(self) -> None:
        self._worker.close()

    def _run(self) -> None:
        worker = self._worker
        self._done(self._retention.pack_all)
        while True:
            self._done(self._retention.remove_old)
            with worker.bell:
                worker.bell.wait_for(lambda: worker.closing or self._closed, _LOOK_S)
                segment = self._closed.popleft() if self._closed else None
            if segment is not None:
                self._done(partial(self._retention.pack, segment))
            elif worker.closing:
                return

    def _done(self, work: Callable[[], None]) -> None:
        if problem := self._worker.tried(work, "looking after closed segments failed inside"):
            log.error("a closed segment of the audit log stays as it is", cause=problem)


def passed(seen: Iterable[int], since: int, now: float, pause: float) -> float:
    """How much time writers were seen to run since a moment; `seen`: when, in order.

    A pause that was longer counts as one of `pause`.
    """
    moments = (since, *(moment for moment in seen if since < moment < now), now)
    return sum(min(after - before, pause) for before, after in pairwise(moments))


def seen_in(directory: Path, keys: Keys) -> list[int]:
    """The moments at which all writers of a directory began segments, in order, in milliseconds
    since 1970. Raises OSError.
    """
    begun = (_proven_begin(each, keys) for files in segments(directory).values() for each in files)
    return sorted(first.time for first in begun if first is not None)


def _proven_begin(segment: SegmentFile, keys: Keys) -> RecordHeader | None:
    """The first record of a segment, if the key proves it."""
    try:
        line = segment.first_line()
        first = record_header(line)
    except (OSError, msgspec.MsgspecError):
        return None
    header = first.unmapped.segment
    return (
        first
        if header is not None and follows(keys.chain, _mac_before(header.previous), line)
        else None
    )


def proven_end(segment: SegmentFile, keys: Keys) -> tuple[Head, int]:
    """The last record of a segment, and its time: by the key, since nobody else may decide what is
    old. Raises Damaged.
    """
    data = segment.data()
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    header = header_of(lines[0]) if lines else None
    if header is not None and (header.writer, header.number) == (segment.writer, segment.number):
        before = stated(lines[-2]) if len(lines) > 1 else Head(mac=_mac_before(header.previous))
        end = stated(lines[-1])
        if before is not None and end is not None and follows(keys.chain, before.mac, lines[-1]):
            return end, record_header(lines[-1]).time
    raise Damaged(errno.EBADMSG, "it was changed, or written with another key", str(segment.path))


def _mac_before(previous: Previous | None) -> bytes:
    return bytes.fromhex(previous.mac) if previous is not None else GENESIS
