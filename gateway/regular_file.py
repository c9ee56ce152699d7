"""Reads of small files that operators name: certificates, keys, secrets.

What is no such file is refused, and never waited for.
"""

import errno
import os
from pathlib import Path
from stat import S_ISREG
from typing import Final

_MOST: Final = 4 * 1024 * 1024


def read_file(path: Path) -> bytes:
    """Raises OSError, also for a pipe, a device or a directory, which could keep its reader
    waiting, and for more than 4 MiB.
    """
    # Without this flag opening a pipe waits for its writer.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        with os.fdopen(opened, "rb", closefd=False) as file:
            content = file.read(_MOST + 1)
    finally:
        os.close(opened)
    if len(content) > _MOST:
        raise OSError(errno.EFBIG, f"holds more than {_MOST // 1024 // 1024} MiB")
    return content
