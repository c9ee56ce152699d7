"""Labels whose values come from outside: never more than so many of them."""

from collections.abc import Iterable
from typing import Final

OTHER: Final = "(other)"
"""Stands for everybody who has no label of their own. No name of a tenant or project has brackets,
so nobody is counted with the others for being called so.
"""
NOBODY: Final = "(unknown)"
"""Stands in the place of the tenant where nobody knows who called."""


class Labels:
    """The first `most` names that are told to it have a label, for the life of the process: a name
    that goes leaves its series behind, and so keeps its place.
    """

    def __init__(self, most: int, names: Iterable[str] = ()) -> None:
        self._most = most
        self._names: dict[str, None] = {}
        self.learn(names)

    def learn(self, names: Iterable[str]) -> list[str]:
        """Those that have a label from now on, and had none before."""
        new = []
        for name in names:
            if name not in self._names and len(self._names) < self._most:
                self._names[name] = None
                new.append(name)
        return new

    @property
    def names(self) -> list[str]:
        """Those that have a label."""
        return list(self._names)

    def of(self, name: str) -> str:
        return name if name in self._names else OTHER
