"""The directory of tenants: one YAML file for each, read as if they stood in the list `tenants`.

Names that begin with a dot are passed over, so that a directory that Kubernetes mounts, with its
`..data`, can be used as it is.
"""

import errno
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

from gateway.config.problems import Problem
from gateway.secret import named

KEY: Final = "tenants_dir"
SUFFIXES: Final = frozenset({".yaml", ".yml"})
_TRIES: Final = 5


def tenant_files(directory: Path) -> list[Path]:
    """The tenants' files by name. Raises OSError."""
    return sorted(
        path
        for path in directory.iterdir()
        if path.suffix in SUFFIXES and not path.name.startswith(".")
    )


def fingerprint(directory: Path) -> list[tuple[str, int, int, int, int]]:
    """What changes whenever a file is added, removed, replaced, written or made readable, also
    through a link. Raises OSError.
    """
    found = []
    for path in tenant_files(directory):
        stat = path.stat()
        if not S_ISREG(stat.st_mode):
            # To open one may wait for ever.
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        # Its own time of change is nothing that a copy could bring along.
        found.append((path.name, stat.st_dev, stat.st_ino, stat.st_ctime_ns, stat.st_size))
    return found


def read_tenants(
    directory: Path, source: str, read: Callable[[list[Path]], list[Any]], problems: list[Problem]
) -> list[Any]:
    """What the files hold, all of one moment: read again when the directory was changed meanwhile.

    Notes problems.
    """
    at = len(problems)
    try:
        for _ in range(_TRIES):
            del problems[at:]
            before = fingerprint(directory)
            entries = read(tenant_files(directory))
            if fingerprint(directory) == before:
                return entries
    except OSError as error:
        del problems[at:]
        what = named(Path(error.filename or directory))
        text = (
            f"tenants_dir cannot be read: {what}: {error.strerror}. Give a directory with a YAML"
            " file for each tenant"
        )
        problems.append(Problem((), source, text))
        return []
    text = (
        f"tenants_dir is being changed all the time: {directory}. Replace its files by renaming"
        " others to their names"
    )
    problems.append(Problem((), source, text))
    return []
