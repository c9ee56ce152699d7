"""Files that operators name, such as certificates, keys and secrets, and those that the gateway
keeps.

What is no such file is refused, and never waited for.
"""

import errno
import os
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, Final

_MOST: Final = 4 * 1024 * 1024


def read_file(path: Path) -> bytes:
    """Raises OSError, also for a pipe, a device or a directory, which could keep its reader
    waiting, and for more than 4 MiB.
    """
    with reading(path) as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise OSError(errno.EFBIG, f"holds more than {_MOST // 1024 // 1024} MiB")
    return content


def reading(path: Path) -> BinaryIO:
    """Opened, of whatever size. Raises OSError as `read_file`."""
    return os.fdopen(opened(path, os.O_RDONLY), "rb")


def opened(path: Path, flags: int, mode: int = 0o600) -> int:
    """Its descriptor. Raises OSError as `read_file`."""
    try:
        # Without this flag opening a pipe waits for its other end; it does nothing to a file.
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _irregular(path) from None
        raise
    if not S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular(path)
    return descriptor


def require_regular(path: Path) -> None:
    """Raises OSError for what is no regular file; opens nothing."""
    if not S_ISREG(path.stat().st_mode):
        raise _irregular(path)


def _irregular(path: Path) -> OSError:
    return OSError(errno.EINVAL, "is not a regular file", str(path))
