"""The files of a log: `<writer>.<number>.jsonl`, or `.jsonl.gz` once it is closed; how they are
written, and what the log itself reads of their lines.

One writer's segments form one chain.
"""

import errno
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from gateway.audit.chain import decoded, stated
from gateway.audit.record import Displaced, Previous, Segment
from gateway.regular_file import opened, reading

SUFFIX: Final = ".jsonl"
PACKED: Final = ".jsonl.gz"
_NAME: Final = re.compile(r"([A-Za-z0-9_-]{1,63})\.([0-9]{8})\.jsonl(?:\.gz)?")
_MODE: Final = 0o600


class _Marks(msgspec.Struct):
    event_code: str
    correlation_uid: str = ""
    tenant_uid: str = ""


class _Api(msgspec.Struct):
    operation: str = ""


class _Kind(msgspec.Struct):
    stage: str
    change_result: str = msgspec.field(default="", name="fate")
    segment: Segment | None = None
    removed: Previous | None = None
    displaced: Displaced | None = None


class RecordHeader(msgspec.Struct):
    """The few members of a record that the log itself lives on."""

    metadata: _Marks
    api: _Api
    unmapped: _Kind
    time: int = 0


_decoder: Final = msgspec.json.Decoder(RecordHeader)


def record_header(line: bytes) -> RecordHeader:
    """Raises msgspec.MsgspecError for what is no record."""
    return decoded(_decoder, line)


def header_of(line: bytes) -> Segment | None:
    """What the first line of a segment says of it; None for any other line."""
    try:
        return record_header(line).unmapped.segment
    except msgspec.MsgspecError:
        return None


class Damaged(OSError):  # noqa: N818 - says what is the case
    """A packed segment is not what was packed."""


class SegmentFile(msgspec.Struct, frozen=True):
    """One segment on disk."""

    writer: str
    number: int
    path: Path

    @property
    def packed(self) -> bool:
        return self.path.name.endswith(PACKED)

    def begun(self) -> bool:
        """Whether its first line is complete, or was: one that is damaged counts as begun.

        Raises OSError.
        """
        try:
            with self._opened() as stream:
                return stream.readline().endswith(b"\n")
        except Damaged:
            return True

    def first_line(self) -> bytes:
        """Without its line feed; empty if it is not complete.

        Raises OSError; Damaged if it cannot be unpacked.
        """
        with self._opened() as stream:
            line = stream.readline()
        return line[:-1] if line.endswith(b"\n") else b""

    def header(self) -> Segment | None:
        """What its first line says; None if it says nothing, or is not complete.

        Raises as `first_line`.
        """
        return header_of(self.first_line())

    def data(self, begin: int = 0) -> bytes:
        """Its bytes from `begin` on, unpacked, also if it has been packed since it was found.

        Raises OSError; Damaged if it cannot be unpacked.
        """
        with self._opened() as stream:
            if isinstance(stream, gzip.GzipFile):
                return stream.read()[begin:]
            stream.seek(begin)
            return stream.read()

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO | gzip.GzipFile]:
        plain, packed = self._files()
        file: BinaryIO | None = None
        if not self.packed:
            with suppress(FileNotFoundError):
                file = reading(plain)
        try:
            if file is not None:
                with file:
                    yield file
            else:
                with reading(packed) as raw, gzip.GzipFile(fileobj=raw) as unpacked:
                    yield unpacked
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Damaged(
                errno.EBADMSG, f"it was cut short or changed ({error})", str(packed)
            ) from None

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


def is_at(fd: int, path: Path) -> bool:
    """Whether an open file is the one that the path names now.

    Raises OSError where that cannot be told.
    """
    try:
        named = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(os.fstat(fd), named)


def name_of(writer: str, number: int) -> str:
    return f"{writer}.{number:08d}{SUFFIX}"


def segments(directory: Path) -> dict[str, list[SegmentFile]]:
    """Writer -> its segments, oldest first.

    Where packing was cut short there are both files of a number: the plain one counts.
    """
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
    """The sequence with which a segment ended whose file may hold more, since writing to it failed.

    `following`: the one after it, which says so.
    """
    try:
        header = following.header() if following is not None else None
    except OSError:
        return None
    previous = header.previous if header is not None else None
    return previous.sequence if previous is not None and previous.abandoned else None


def counted(files: Sequence[SegmentFile], unreadable: Unreadable) -> Iterator[bytes]:
    """The complete lines of a writer's segments, in their order, without those that a failed write
    has left behind.
    """
    for each, following in zip_longest(files, files[1:]):
        yield from lines_of(each, following, unreadable)


def lines_of(
    segment: SegmentFile, following: SegmentFile | None, unreadable: Unreadable
) -> Iterator[bytes]:
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


class Disk:
    """One open file for appending. Tests put a broken one in its place."""

    def __init__(self, path: Path, *, new: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | (os.O_CREAT | os.O_EXCL if new else 0)
        self._path = path
        self._fd = opened(path, flags, _MODE)

    def write(self, data: bytes) -> None:
        """All of it. Raises OSError, also when the system takes a part only."""
        written = os.write(self._fd, data)
        if written != len(data):
            raise OSError(f"only {written} of {len(data)} bytes were written")

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def displaced(self, size: int) -> str:
        """What somebody else has done to the file, if it is not at its name any more or its size is
        another one. Raises OSError.
        """
        mine = os.fstat(self._fd)
        if not is_at(self._fd, self._path):
            return (
                "was removed"
                if not mine.st_nlink
                else "was replaced"
                if os.path.lexists(self._path)
                else "was moved"
            )
        return (
            ""
            if mine.st_size == size
            else f"was changed: it has {mine.st_size} bytes instead of {size}"
        )

    def cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        os.close(self._fd)
