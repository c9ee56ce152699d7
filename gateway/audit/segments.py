"""The files of a log: `<writer>.<number>.jsonl`, or `.jsonl.gz` once it is closed. One writer's segments form one chain."""

import errno
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from gateway.audit.chain import stated
from gateway.audit.events import Stage
from gateway.audit.record import OpenIntent, Previous, Segment

SUFFIX: Final = ".jsonl"
PACKED: Final = ".jsonl.gz"
_NAME: Final = re.compile(r"([A-Za-z0-9_-]{1,63})\.([0-9]{8})\.jsonl(?:\.gz)?")
PENDING: Final = "PENDING"
"""The fate of a change that goes on after its call has ended."""
UNKNOWN: Final = "UNKNOWN"
"""The fate of a change of which nobody can say yet whether it was made."""
MAX_UNKNOWN: Final = 1000
"""How many of these the log carries from segment to segment; older ones are found by searching only."""


class Damaged(OSError):  # noqa: N818 - says what is the case
    """A packed segment is not what was packed."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One segment on disk."""

    writer: str
    number: int
    path: Path

    @property
    def packed(self) -> bool:
        return self.path.name.endswith(PACKED)

    def begun(self) -> bool:
        """Whether its first line is complete, or was: one that is damaged counts as begun. Raises OSError."""
        try:
            with self._opened() as stream:
                return stream.readline().endswith(b"\n")
        except Damaged:
            return True

    def header(self) -> Segment | None:
        """What its first line says; None if it says nothing, or is not complete. Raises OSError; Damaged if it cannot be unpacked."""
        with self._opened() as stream:
            line = stream.readline()
        return header_of(line[:-1]) if line.endswith(b"\n") else None

    def data(self, begin: int = 0) -> bytes:
        """Its bytes from `begin` on, unpacked, also if it has been packed since it was found. Raises OSError; Damaged if it cannot be unpacked."""
        with self._opened() as stream:
            if isinstance(stream, gzip.GzipFile):
                return stream.read()[begin:]
            stream.seek(begin)
            return stream.read()

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO | gzip.GzipFile]:
        plain, packed = self._files()
        stream: BinaryIO | gzip.GzipFile | None = None
        if not self.packed:
            with suppress(FileNotFoundError):
                stream = plain.open("rb")
        try:
            with stream or gzip.open(packed, "rb") as opened:
                yield opened
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(errno.EBADMSG, f"it was cut short or changed ({error})", str(packed)) from None

    def _files(self) -> tuple[Path, Path]:
        """Where it stands while it is plain, and once it is packed."""
        plain = self.path.with_name(name_of(self.writer, self.number))
        return plain, plain.with_name(f"{plain.name}{PACKED.removeprefix(SUFFIX)}")

    def remove(self) -> None:
        """Raises OSError. Both files, where packing was cut short."""
        for path in self._files():
            path.unlink(missing_ok=True)


def sync_folder(directory: Path) -> None:
    """Makes durable which files there are. Raises OSError."""
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def name_of(writer: str, number: int) -> str:
    return f"{writer}.{number:08d}{SUFFIX}"


def segments(directory: Path) -> dict[str, list[SegmentFile]]:
    """Writer -> its segments, oldest first. Where packing was cut short there are both files of a number: the plain one counts."""
    found: dict[tuple[str, int], SegmentFile] = {}
    for path in sorted(directory.iterdir(), key=lambda path: path.name, reverse=True):
        if match := _NAME.fullmatch(path.name):
            found[match[1], int(match[2])] = SegmentFile(match[1], int(match[2]), path)
    writers: dict[str, list[SegmentFile]] = {}
    for _, each in sorted(found.items()):
        writers.setdefault(each.writer, []).append(each)
    return writers


Unreadable = Callable[[SegmentFile, OSError], None]
"""Hears of a segment that cannot be read, and raises or returns."""


def raised(_segment: SegmentFile, error: OSError) -> None:
    """An Unreadable for who wants all or nothing."""
    raise error


def abandoned_at(following: SegmentFile | None) -> int | None:
    """The sequence with which a segment ended whose file may hold more, since writing to it failed. `following`: the one after it, which says so."""
    try:
        header = following.header() if following is not None else None
    except OSError:
        return None
    previous = header.previous if header is not None else None
    return previous.sequence if previous is not None and previous.abandoned else None


def counted(files: Sequence[SegmentFile], unreadable: Unreadable) -> Iterator[bytes]:
    """The complete lines of a writer's segments, in their order, without those that a failed write has left behind."""
    for each, following in zip_longest(files, files[1:]):
        yield from lines_of(each, following, unreadable)


def lines_of(segment: SegmentFile, following: SegmentFile | None, unreadable: Unreadable) -> Iterator[bytes]:
    """The same for one segment; `following`: the one after it, if there is one."""
    try:
        lines = segment.data().split(b"\n")[:-1]
    except FileNotFoundError:
        # Retention has removed it since it was found.
        return
    except OSError as error:
        unreadable(segment, error)
        return
    end = abandoned_at(following)
    for line in lines:
        yield line
        said = stated(line)
        if end is not None and said is not None and said.sequence == end:
            break


class _Marks(msgspec.Struct):
    event_code: str
    correlation_uid: str = ""
    tenant_uid: str = ""


class _Api(msgspec.Struct):
    operation: str = ""


class _Kind(msgspec.Struct):
    stage: str
    fate: str = ""
    segment: Segment | None = None
    removed: Previous | None = None


class Gist(msgspec.Struct):
    """The few members of a record that the log itself lives on."""

    metadata: _Marks
    api: _Api
    unmapped: _Kind
    time: int = 0


_gist: Final = msgspec.json.Decoder(Gist)


def gist(line: bytes) -> Gist:
    """Raises msgspec.MsgspecError for what is no record."""
    if not line.isascii():
        raise msgspec.DecodeError("records are ASCII")
    try:
        return _gist.decode(line)
    except RecursionError:
        raise msgspec.DecodeError("records are not that deep") from None


def header_of(line: bytes) -> Segment | None:
    """What the first line of a segment says of it; None for any other line."""
    try:
        return gist(line).unmapped.segment
    except msgspec.MsgspecError:
        return None


class OpenIntents:
    """The changes of which it is not recorded whether they were made, kept up to date record by record."""

    def __init__(self) -> None:
        self._open: dict[str, OpenIntent] = {}

    def __iter__(self) -> Iterator[OpenIntent]:
        return iter(tuple(self._open.values()))

    @property
    def dangling(self) -> list[OpenIntent]:
        """Those of which not even that is recorded."""
        return [each for each in self._open.values() if not each.unknown]

    def see(self, record: Gist) -> None:
        """Takes in the next record of the chain."""
        uid, kind = record.metadata.correlation_uid, record.unmapped
        if kind.segment is not None:
            self._open = {each.uid: each for each in kind.segment.open}
        elif kind.stage == Stage.INTENT:
            self.add(OpenIntent(uid=uid, operation=record.api.operation, tenant=record.metadata.tenant_uid))
        elif kind.stage in {Stage.OUTCOME, Stage.RECONCILED}:
            self.end(uid, kind.fate)

    def add(self, intent: OpenIntent) -> None:
        self._open[intent.uid] = intent

    def end(self, uid: str, fate: str) -> None:
        """The change's call ended, or its fate was learnt."""
        known = self._open.get(uid)
        if known is None or fate == PENDING:
            return
        if fate == UNKNOWN:
            self._open[uid] = OpenIntent(uid=uid, operation=known.operation, tenant=known.tenant, unknown=True)
            self._forget_oldest()
        else:
            del self._open[uid]

    def _forget_oldest(self) -> None:
        unknown = [each.uid for each in self._open.values() if each.unknown]
        for uid in unknown[:-MAX_UNKNOWN]:
            del self._open[uid]
