"""The name of a writer, which one process has at a time in a directory of audit logs."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from gateway.audit.segments import is_at
from gateway.regular_file import opened
from gateway.writable import require_writable

_MODE: Final = 0o600
_LOOK_S: Final = 0.05


class Unusable(Exception):  # noqa: N818 - says what is the case
    """The log cannot be begun. The text says why and what to do."""


class Running(Unusable):
    """Another process writes this log."""


class Lock:
    """A lock on a file beside the segments.

    Whoever removes the file takes no name away: it is taken again before anything is written.
    """

    def __init__(self, directory: Path, writer: str) -> None:
        self._directory = directory
        self._writer = writer
        self._path = directory / f"{writer}.lock"
        self._fd: int | None = None

    def taken(self) -> bool:
        """Whether this process has the name now; takes it if it is free. Raises OSError."""
        if self._held():
            return True
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = opened(self._path, os.O_RDWR | os.O_CREAT, _MODE)
        if not (_locked(fd) and is_at(fd, self._path)):
            os.close(fd)
            return False
        self.close()
        self._fd = fd
        return True

    def hold(self) -> bool:
        """Whether the name had to be taken anew, since its file was not there any more.

        Raises OSError when another process has it.
        """
        if self._held():
            return False
        if not self.taken():
            raise OSError(
                errno.EBUSY,
                f"another process writes as {self._writer!r}, since the lock of this one was"
                " removed",
            )
        return True

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _held(self) -> bool:
        return self._fd is not None and is_at(self._fd, self._path)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def locked(directory: Path, writer: str, timeout_s: float = 0) -> Iterator[Lock]:
    """Holds the writer's name for this process.

    Raises Running when another one has it for longer than that; Unusable.
    """
    lock = Lock(directory, writer)
    with usable(directory):
        give_up = time.monotonic() + timeout_s
        while not lock.taken():
            if time.monotonic() >= give_up:
                raise _running(directory, writer)
            time.sleep(_LOOK_S)
    try:
        yield lock
    finally:
        lock.close()


def require_free(directory: Path, writer: str) -> None:
    """Raises as `locked`, but makes nothing: neither the directory nor the lock's file."""
    with usable(directory):
        require_writable(directory, parents=True)
        try:
            fd = opened(directory / f"{writer}.lock", os.O_RDWR)
        except FileNotFoundError:
            return
        try:
            if not _locked(fd):
                raise _running(directory, writer)
        finally:
            os.close(fd)


@contextmanager
def usable(directory: Path) -> Iterator[None]:
    """Raises Unusable where files cannot be written there."""
    try:
        # As its own words: making it would say only that something is there.
        if directory.exists() and not directory.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        yield
    except OSError as error:
        raise Unusable(
            f"audit.directory {directory} cannot be used: {error.strerror}. Make it a directory"
            " that this user may write to"
        ) from error


def _running(directory: Path, writer: str) -> Running:
    return Running(
        f"another process writes as {writer!r} into {directory}. Give each process that"
        " shares it an audit.writer of its own"
    )
