"""Unpacks a zip over an older state of it, writing only what has changed: tools that go by the
times of files compile nothing twice.

`python -m clients.frame.unpack ZIP FOLDER`
"""

import sys
import zipfile
from pathlib import Path


def unpack(source: Path, folder: Path) -> None:
    """Afterwards the folder holds what the zip holds, and nothing else."""
    with zipfile.ZipFile(source) as packed:
        wanted = {folder / name: packed.read(name) for name in packed.namelist()}
    for path in [path for path in folder.rglob("*") if path.is_file() and path not in wanted]:
        path.unlink()
    for path, content in wanted.items():
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
