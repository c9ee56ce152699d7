"""Keeps what may be a secret out of everything that is told of a configuration: reports of
mistakes, and the configuration itself when it is printed.

A secret gets into a configuration by mistake, and then it can stand anywhere: as a name, a path, a
key, or part of a variable's name. So what does not read like a name, an address or a path
(`secret.masked`) is shown only where its place says what it is, such as the id of a project.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from gateway.config.problems import KeyPath, Problem
from gateway.secret import masked

_ID: Final = re.compile(r"[0-9a-f]{32}")
_PART: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "id": _ID,
    "default_project": _ID,
    "enterprise_project_id": _PART,
    "subject": re.compile(f"{_ID.pattern}(/{_PART.pattern})?|{_PART.pattern}"),
    "sha256": _HASH,
    "api_key": _HASH,
}
"""What may stand at these keys although it looks like a secret: ids of CBR, what issuers call
people, and the hashes of API keys.
"""


def public(text: str, path: KeyPath) -> str:
    """As much of a value as may be shown, by its place."""
    form = _FORMS.get(str(path[-1])) if path else None
    return text if form is not None and form.fullmatch(text) else masked(text)


class Masking:
    """Covers, in texts about a configuration, whatever of it may not be shown.

    `tree`: as it was written.
    """

    def __init__(self, tree: object) -> None:
        covers = {text: cover for text, cover in _covers(tree, ()) if text != cover}
        self._covers = {form: cover for text, cover in covers.items() for form in _forms(text)}
        longest_first = sorted(self._covers, key=len, reverse=True)
        self._pattern = (
            re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        )

    def of(self, text: str) -> str:
        return (
            text
            if self._pattern is None
            else self._pattern.sub(lambda found: self._covers[found[0]], text)
        )

    def problem(self, problem: Problem) -> Problem:
        path = tuple(masked(part) if isinstance(part, str) else part for part in problem.path)
        return Problem(path, self.of(problem.source), self.of(problem.text))


def _forms(text: str) -> tuple[str, ...]:
    """How a message may write it: as it is, quoted, or as a path."""
    return text, repr(text)[1:-1], json.dumps(text)[1:-1], str(Path(text))


def _covers(node: object, path: KeyPath) -> Iterator[tuple[str, str]]:
    """Every text in a tree, its keys as well, with what may be shown of it."""
    match node:
        case str():
            yield node, public(node, path)
        case dict():
            for key, child in node.items():
                yield str(key), masked(str(key))
                yield from _covers(child, (*path, key))
        case list() | tuple():
            for index, child in enumerate(node):
                yield from _covers(child, (*path, index))
