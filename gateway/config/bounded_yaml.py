"""YAML that is read as far as bounds allow, whatever it holds.

A few bytes can mean a great deal: aliases of aliases, lists within lists, numbers to the base of
60. What is too much is refused with its line before it takes memory or time, since files of tenants
are written by many hands.
"""

from pathlib import Path
from typing import Any, Final

import yaml
from msgspec import Struct

_DEPTH: Final = 20
_ALIASED: Final = 10_000
"""How many values aliases may add, each counted wherever it is used."""
_NUMBER: Final = 100
"""Characters of a value that is no text: some numbers take time that grows with their square."""
_TEXT: Final = "tag:yaml.org,2002:str"


class Bounds(Struct, frozen=True):
    """Of one file."""

    size: int
    """Bytes."""
    values: int
    """Keys count, too."""


CONFIGURATION: Final = Bounds(4 * 1024 * 1024, 200_000)
TENANT: Final = Bounds(256 * 1024, 10_000)


class TooMuch(Exception):  # noqa: N818 - says what is the case
    """A file exceeds a bound, at `line` of it."""

    def __init__(self, text: str, line: int) -> None:
        super().__init__(text)
        self.line = line


class BoundedLoader(yaml.SafeLoader):
    """Reads the nodes of one file, and plain values of nodes. Raises TooMuch."""

    def __init__(self, path: Path, bounds: Bounds) -> None:
        """Raises OSError and UnicodeDecodeError, too."""
        with path.open("rb") as file:
            content = file.read(bounds.size + 1)
        if len(content) > bounds.size:
            text = f"holds more than {bounds.size // 1024} KiB. Make it smaller"
            raise TooMuch(text, content.count(b"\n") + 1)
        super().__init__(content.decode())
        self._bounds = bounds
        self._depth = self._nodes = self._visits = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        self._nodes += 1
        if self._nodes > self._bounds.values:
            text = f"holds more than {self._bounds.values} keys and values. Make it smaller"
            raise TooMuch(text, line)
        self._depth += 1
        self.check_depth(self._depth, line)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def check_depth(self, depth: int, line: int) -> None:
        if depth > _DEPTH:
            raise TooMuch("is nested too deeply, or contains itself", line)

    def visit(self, node: yaml.Node) -> None:
        """Counts a node wherever it stands, so that one that aliases name counts each time."""
        self._visits += 1
        if self._visits > self._nodes + _ALIASED:
            text = (
                f"uses aliases for more than {_ALIASED} values, those within counted each time."
                " Write out what is meant"
            )
            raise TooMuch(text, node.start_mark.line + 1)

    def scalar(self, node: yaml.Node) -> Any:  # noqa: ANN401 - whatever the file holds
        """Raises ValueError for what a tag or form promises and a text does not keep."""
        if node.tag != _TEXT and len(node.value) > _NUMBER:
            raise ValueError("too long")
        try:
            return self.construct_object(node)
        except (yaml.YAMLError, ArithmeticError, LookupError, AttributeError) as error:
            # The constructors trust that a text fits an explicit tag.
            raise ValueError(str(error)) from error
