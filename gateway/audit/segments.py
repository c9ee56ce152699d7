"""The files of a log: `<writer>.<number>.jsonl`, or `.jsonl.gz` once it is closed.

One writer's segments form one chain.
"""

import errno
import gzip
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from gateway.audit.header import header_of
from gateway.audit.record import Segment

SUFFIX: Final = ".jsonl"
PACKED: Final = ".jsonl.gz"
_NAME: Final = re.compile(r"([A-Za-z0-9_-]{1,63})\.([0-9]{8})\.jsonl(?:\.gz)?")


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
        stream: BinaryIO | gzip.GzipFile | None = None
        if not self.packed:
            with suppress(FileNotFoundError):
                stream = plain.open("rb")
        try:
            with stream or gzip.open(packed, "rb") as opened:
                yield opened
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
