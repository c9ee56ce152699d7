"""One open file for appending, and whether it is still the file of its name."""

import os
from pathlib import Path
from typing import Final

from gateway.audit.segments import is_at

_MODE: Final = 0o600


class Disk:
    """One open file for appending. Tests put a broken one in its place."""

    def __init__(self, path: Path, *, new: bool) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
        self._path = path
        self._fd = os.open(path, flags, _MODE)

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
