"""What is wrong with a configuration, in sentences that say what to do."""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from gateway.config import Config

KeyPath = tuple[str | int, ...]


class Problem(Struct, frozen=True):
    """One mistake.

    `source`: where the value, or the part that misses it, comes from; empty when nothing is known.
    """

    path: KeyPath
    source: str
    text: str

    def __str__(self) -> str:
        where = f" ({self.source})" if self.source else ""
        return (
            f"{path_text(self.path)}{where}: {self.text}"
            if self.path
            else f"{self.source}: {self.text}"
        )


class ConfigError(Exception):
    """A configuration that cannot be used as it is.

    `problems` holds every mistake found; the text has one line for each. `tenants_dir`: what it
    names.
    """

    def __init__(
        self,
        problems: Iterable[Problem],
        tenants_dir: Path | None = None,
        usable: "Callable[[Mapping[str, Any]], Config | None]" = lambda _: None,
    ) -> None:
        """`usable`: what can be used of it all the same, where files of tenants are at fault, from
        what they held before; None: nothing.
        """
        self.problems = tuple(problems)
        self.tenants_dir = tenants_dir
        self.usable = usable
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  ".join([f"{count} in the configuration:", *map(str, self.problems)]))


def path_text(path: KeyPath) -> str:
    """`tenants[1].projects[0].region`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Collection[str], what: str) -> str:
    """A sentence that helps with an unknown word: the nearest known one, else the first few."""
    if near := difflib.get_close_matches(word.lower(), known, n=1):
        return f"Did you mean {near[0]}?"
    shown = sorted(known)
    more = ", ..." if len(shown) > 12 else ""  # noqa: PLR2004 - what fits a line
    return f"{what}: {', '.join(shown[:12])}{more}" if shown else f"{what}: none"
