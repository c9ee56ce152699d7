"""The tree that a package is made from: our own code, the generated code, the service config
and the changelog, laid together by copying what has changed.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clients.frame.languages import ROOT, Language
from clients.frame.service_config import FILE as SERVICE_CONFIG

PLACED: Final = "placed.json"
CHANGELOG: Final = ROOT / "CHANGELOG.md"
"""Of all packages, whose version is the gateway's."""


def lay(language: Language) -> None:
    """Brings the tree up to date.

    Files that have not changed keep their times, and with them the language's tools what they have
    compiled.
    """
    note = language.cache / PLACED
    before = set(json.loads(note.read_text(encoding="utf-8"))) if note.exists() else set()
    wanted = dict(_wanted(language))
    for name in before - wanted.keys():
        (language.tree / name).unlink(missing_ok=True)
    for name, source in wanted.items():
        target = language.tree / name
        if not target.exists() or target.read_bytes() != source.read_bytes():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            shutil.copymode(source, target)
    note.write_text(json.dumps(sorted(wanted)), encoding="utf-8")


def _wanted(language: Language) -> Iterator[tuple[str, Path]]:
    """Path in the tree, and the file that belongs there."""
    for path in _files(language.source):
        yield str(path.relative_to(language.source)), path
    for path in _files(language.generated):
        yield str(Path(language.code) / path.relative_to(language.generated)), path
    yield language.service_config, SERVICE_CONFIG
    yield CHANGELOG.name, CHANGELOG


def _files(folder: Path) -> Iterator[Path]:
    return (
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
