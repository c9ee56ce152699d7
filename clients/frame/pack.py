"""Packs the files of a tree into a zip, below a folder of a given name.

The example is left out: it is a project of its own.

`python -m clients.frame.pack TREE ZIP FOLDER`, for languages whose tools make no such package.
"""

import json
import sys
import zipfile
from pathlib import Path

from clients.frame.tree import PLACED


def pack(tree: Path, target: Path, folder: str) -> None:
    """The same content makes the same zip, byte for byte."""
    names = json.loads((tree.parent / PLACED).read_text(encoding="utf-8"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        for name in (name for name in names if not name.startswith("example/")):
            out.writestr(
                zipfile.ZipInfo(f"{folder}/{name}"),
                (tree / name).read_bytes(),
                zipfile.ZIP_DEFLATED,
            )


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
