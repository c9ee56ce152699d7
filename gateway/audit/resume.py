"""Taking a writer's chain up where its last process left it: after a proper end, a crash, or a write that was cut short.

Only what a crash can leave is repaired: an incomplete last line, which is set aside beside its segment. Everything else that does not fit the chain
was changed by somebody, and nothing is built upon it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from gateway.audit.chain import GENESIS, Head, Keys, follows, stated
from gateway.audit.record import Anchor
from gateway.audit.segments import Damaged, OpenIntents, SegmentFile, gist, segments

_MODE: Final = 0o600
_ADVICE: Final = (
    "Run `cbr-gateway audit verify`, and keep its report and the files; then give the gateway another audit.writer, which begins a new chain"
)


class Unusable(Exception):  # noqa: N818 - says what is the case
    """The log cannot be begun. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Torn:
    """An incomplete last line that was set aside."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where a chain stands. `number`: of its last segment, 0 before the first."""

    head: Head
    number: int
    open: OpenIntents
    torn: Torn | None = None


@contextmanager
def locked(directory: Path, writer: str) -> Iterator[None]:
    """Holds the writer's name for this process. Raises Unusable."""
    path = directory / f"{writer}.lock"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise Unusable(f"audit.directory {directory} cannot be used: {error.strerror}. Make it a directory that this user may write to") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            text = f"another process writes as {writer!r} into {directory}. Give each process that shares it an audit.writer of its own"
            raise Unusable(text) from None
        yield
    finally:
        os.close(lock)


def position(directory: Path, writer: str, keys: Keys, anchored: Anchor | None) -> Position:
    """Where the writer's chain stands; sets an incomplete last line aside. The lock must be held. Raises Unusable or OSError."""
    files = segments(directory).get(writer, [])
    torn: Torn | None = None
    found = Position(Head(), 0, OpenIntents())
    while files:
        last = files.pop()
        data = _data(last)
        complete, _, rest = data.rpartition(b"\n")
        if rest:
            torn = _set_aside(last, len(data) - len(rest), rest)
        if complete:
            found = Position(*_read(last, complete.split(b"\n"), keys), torn)
            break
        last.path.unlink(missing_ok=True)
    if anchored is not None and anchored.sequence > found.head.sequence:
        had = f"record {found.head.sequence} is the last of writer {writer!r} in {directory}, and record {anchored.sequence} was anchored"
        raise Unusable(f"{had}: records are missing, unless another gateway with the same anchors or state has this writer's name. {_ADVICE}")
    return found


def _data(segment: SegmentFile) -> bytes:
    try:
        return segment.data()
    except Damaged as damage:
        raise Unusable(f"{segment.path} cannot be read: {damage.strerror}. {_ADVICE}") from None


def _read(segment: SegmentFile, lines: list[bytes], keys: Keys) -> tuple[Head, int, OpenIntents]:
    open_intents = OpenIntents()
    before = GENESIS
    for number, line in enumerate(lines, start=1):
        try:
            record = gist(line)
        except msgspec.MsgspecError:
            raise _misfit(segment, number) from None
        header = record.unmapped.segment
        if number == 1 and header is not None and header.previous is not None:
            before = bytes.fromhex(header.previous.mac)
        said = stated(line)
        if said is None or not follows(keys.chain, before, line):
            raise _misfit(segment, number)
        before = said.mac
        open_intents.see(record)
    last = stated(lines[-1])
    assert last is not None
    return last, segment.number, open_intents


def _misfit(segment: SegmentFile, line: int) -> Unusable:
    text = f"line {line} of {segment.path} does not fit the chain: it was changed, or audit.key is not the key that it was written with"
    return Unusable(f"{text}. {_ADVICE}")


def _set_aside(segment: SegmentFile, good: int, rest: bytes) -> Torn:
    """The incomplete line goes into a file of its own before it is cut off."""
    path = segment.path.with_name(f"{segment.path.name}.torn-{good}")
    path.touch(mode=_MODE)
    path.write_bytes(rest)
    with segment.path.open("r+b") as cut:
        cut.truncate(good)
        os.fsync(cut.fileno())
    return Torn(path, len(rest))
