"""Taking a writer's chain up where its last process left it: after a proper end, a crash, or a
write that was cut short; and the logs of writers that do not run any more, in a directory that
several share: whoever finds one writes to it what is left to be said.

Only what a crash can leave is repaired: an incomplete last line, or lines behind the last anchor of
which some were lost. They are set aside beside their segment. Everything else that does not fit the
chain was changed by somebody, and nothing is built upon it.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog
from msgspec import field

from gateway.audit import events
from gateway.audit.anchors import last_of
from gateway.audit.chain import GENESIS, Head, Keys, follows, stated
from gateway.audit.events import own_record
from gateway.audit.intents import Entry, OpenIntents
from gateway.audit.lock import Unusable, locked
from gateway.audit.record import Anchor
from gateway.audit.segments import Damaged, SegmentFile, record_header, segments
from gateway.audit.sinks import FileSink

_MODE: Final = 0o600
_ADVICE: Final = (
    "Run `cbr-gateway audit verify`, and keep its report and the files; then give the gateway"
    " another audit.writer, which begins a new chain"
)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Torn(msgspec.Struct, frozen=True):
    """The end of a log that is no record and was set aside."""

    path: Path
    size: int


class Position(msgspec.Struct, frozen=True):
    """Where a chain stands. `number`: of its last segment, 0 before the first."""

    head: Head
    number: int
    open: OpenIntents
    torn: Torn | None = None


def position(
    directory: Path, writer: str, keys: Keys, anchored: Anchor | None, *, mend: bool = True
) -> Position:
    """Where the writer's chain stands; sets aside what a crash has left at its end, unless it is
    not to `mend` it.

    The lock must be held. Raises Unusable or OSError.
    """
    files = segments(directory).get(writer, [])
    torn: Torn | None = None
    found = Position(Head(), 0, OpenIntents())
    while files:
        last = files.pop()
        data = _data(last)
        good = _good(last, data, keys, anchored)
        if mend and good.size < len(data):
            torn = _set_aside(last, good.size, data[good.size :])
        if good.size:
            found = Position(good.head, last.number, good.open, torn)
            break
        if mend:
            last.path.unlink(missing_ok=True)
    if anchored is not None and anchored.sequence > found.head.sequence:
        had = (
            f"record {found.head.sequence} is the last of writer {writer!r} in {directory}, and"
            f" record {anchored.sequence} was anchored"
        )
        raise Unusable(
            f"{had}: records are missing, unless another gateway with the same anchors or state has"
            f" this writer's name. {_ADVICE}"
        )
    return found


def unreadable(directory: Path, error: OSError) -> Unusable:
    """What is to be taken up cannot be read."""
    return Unusable(
        f"{error.filename or directory} cannot be read: {error.strerror}. The audit log goes on"
        " where it ended, so it must be readable"
    )


def _data(segment: SegmentFile) -> bytes:
    try:
        return segment.data()
    except Damaged as damage:
        raise Unusable(f"{segment.path} cannot be read: {damage.strerror}. {_ADVICE}") from None


class _Good(msgspec.Struct):
    """How far a segment is as it was written: the bytes, and where the chain stands there."""

    size: int = 0
    head: Head = field(default_factory=Head)
    open: OpenIntents = field(default_factory=OpenIntents)


def _good(segment: SegmentFile, data: bytes, keys: Keys, anchored: Anchor | None) -> _Good:
    """Raises Unusable where it ends before the last complete line, and no crash explains that."""
    good = _Good()
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(keepends=True), start=1):
        if not _continues(segment, good, line[:-1], keys):
            # A power loss may keep later pages of what was being written, and lose earlier ones.
            # Nobody was told that these records were written, and no anchor says that they were.
            # Without an anchor nobody knows how much was; then it is no crash that one may assume.
            if anchored is not None and number > 1 and good.head.sequence >= anchored.sequence:
                break
            raise _misfit(segment, number)
        good.size += len(line)
    return good


def _continues(segment: SegmentFile, good: _Good, line: bytes, keys: Keys) -> bool:
    """Takes in the next line, if it is the one that was written there."""
    said = stated(line)
    before = good.head.mac
    try:
        record = record_header(line)
    except msgspec.MsgspecError:
        return False
    if not good.size:
        header = record.unmapped.segment
        if header is None or (header.writer, header.number) != (segment.writer, segment.number):
            return False
        before = bytes.fromhex(header.previous.mac) if header.previous is not None else GENESIS
    if said is None or not follows(keys.chain, before, line):
        return False
    good.head = said
    good.open.see(record)
    return True


def _misfit(segment: SegmentFile, line: int) -> Unusable:
    text = (
        f"line {line} of {segment.path} does not fit the chain: it was changed, or audit.key is not"
        " the key that it was written with"
    )
    return Unusable(f"{text}. {_ADVICE}")


def _set_aside(segment: SegmentFile, good: int, rest: bytes) -> Torn:
    """It goes into a file of its own before it is cut off."""
    path = segment.path.with_name(f"{segment.path.name}.torn-{good}")
    path.touch(mode=_MODE)
    path.write_bytes(rest)
    with segment.path.open("r+b") as cut:
        cut.truncate(good)
        os.fsync(cut.fileno())
    return Torn(path, len(rest))


@contextmanager
def stale_writer(
    directory: Path, writer: str, keys: Keys, anchors: Iterable[Anchor]
) -> Iterator[FileSink]:
    """Its log, which goes on in a segment of its own if anything is written.

    Raises Running while its process runs, Unusable if it was changed, or OSError.
    """
    with locked(directory, writer) as lock:
        found = position(directory, writer, keys, last_of(anchors, writer))
        sink = FileSink(
            directory,
            writer,
            keys,
            head=found.head,
            number=found.number,
            open=found.open,
            hold=lock.hold,
        )
        try:
            if found.torn is not None:
                sink.append([repaired(found.torn)])
            yield sink
        finally:
            sink.close()


def repaired(torn: Torn) -> Entry:
    """Says that the end of a log was set aside, to the log and to its operator."""
    log.warning(
        "the end of the audit log was incomplete and is set aside",
        file=str(torn.path),
        bytes=torn.size,
    )
    return Entry(own_record(events.LOG_REPAIRED, torn_bytes=torn.size, torn_file=torn.path.name))
