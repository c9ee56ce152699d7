"""Lays out what the docs site is made from, which `make docs` does with mkdocs: every Markdown page
of the tree, what they link to, and the API reference.

A page is where it is in the tree, so that its links lead where they lead in a checkout. What links
to a folder leads to the folder's README.md; where there is none the words stay, without a link.
"""

import argparse
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from scripts import api_reference

_ROOT: Final = Path(__file__).resolve().parents[1]
_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")
_FENCE: Final = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
_LEFT_OUT: Final = ("findings/", "tests/")
"""For developers of the gateway, and long; who works on it has the tree."""


def lay_out(target: Path) -> None:
    """Everything into `target`, which is emptied first."""
    shutil.rmtree(target, ignore_errors=True)
    for name in _markdown():
        page = target / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(_page(name, target), encoding="utf-8")
    for name, text in api_reference.pages().items():
        page = target / "docs" / "reference" / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")


def _markdown() -> list[str]:
    command = ["git", "ls-files", "*.md"]
    listed = subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if not name.startswith(_LEFT_OUT)]


def _page(name: str, target: Path) -> str:
    """The page's text; what it links to, and is no page, is copied."""

    def led(link: re.Match[str]) -> str:
        words, href, anchor = link[1], link[2], link[3] or ""
        to = (_ROOT / name).parent.joinpath(href).resolve()
        inside = str(to.relative_to(_ROOT))
        if to.is_dir():
            return f"[{words}]({href.rstrip('/')}/README.md)" if _is_page(inside) else words
        if to.suffix == ".md":
            return words if inside.startswith(_LEFT_OUT) else link[0]
        copy = target / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(to, copy)
        return f"[{words}]({href}{anchor})"

    parts = _FENCE.split((_ROOT / name).read_text(encoding="utf-8"))
    return "".join(part if at % 2 else _LINK.sub(led, part) for at, part in enumerate(parts))


def _is_page(folder: str) -> bool:
    name = f"{folder}/README.md"
    return (_ROOT / name).exists() and not name.startswith(_LEFT_OUT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    lay_out(parser.parse_args().target)


if __name__ == "__main__":
    main()
