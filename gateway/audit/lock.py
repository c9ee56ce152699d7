"""The name of a writer, which one process at a time may have."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from gateway.audit.segments import is_at

_MODE: Final = 0o600


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
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
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
