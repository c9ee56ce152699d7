"""Whether a file can be made in a directory, found out without leaving one."""

import tempfile
from pathlib import Path


def require_writable(directory: Path, *, parents: bool = False) -> None:
    """Raises OSError where this process cannot make a file in it.

    With `parents` the directory may be missing where it can be made.
    """
    while parents and not directory.exists() and directory != directory.parent:
        directory = directory.parent
    with tempfile.TemporaryFile(dir=directory):
        pass
