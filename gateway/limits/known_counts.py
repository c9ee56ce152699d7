"""Which counts of projects are known, and which counters growth may rest on.

What the store has once counted is trusted by every later process until it is counted again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct, field

from gateway.limits.counts import Counts, Problem
from gateway.limits.store_life import StoreLife
from gateway.state import Counters


class KnownCounts(Struct):
    """One per process. `problems`: counts that could not be taken at the last try."""

    life: StoreLife
    counters: Counters
    problems: Mapping[str, Problem]
    parts: set[str] = field(default_factory=set)
    """Counts of projects that were taken in this life of the store."""
    ready: set[str] = field(default_factory=set)
    """Counters that growth may rest on."""
    _recalled: bool = False
    _recalling: asyncio.Lock = field(default_factory=asyncio.Lock)

    def forget(self) -> None:
        """After a change of limits or projects."""
        self._recalled = False
        self.ready.clear()

    def lose(self) -> None:
        """The store began another life."""
        self.forget()
        self.parts.clear()

    async def recall(self, counts: Callable[[], Counts]) -> None:
        """What earlier processes, or others, have counted is known, unless the store has forgotten
        something since. Raises StoreDown.
        """
        async with self._recalling:
            if not self._recalled:
                life, asked = self.life.number, counts()
                parts = list(asked.project_of)
                found = await self.counters.usage(parts)
                if life == self.life.number and asked is counts():
                    if not self.life.forgot:
                        self.parts |= {part for part in parts if found[part].counted_at is not None}
                    self._recalled = True

    def note(self, keys: Iterable[str], counts: Counts) -> None:
        """Growth may rest on what is known, and on those of these counters whose projects were all
        tried.
        """
        tried = self.parts | self.problems.keys()
        self.ready |= self.parts
        self.ready |= {
            key
            for key in keys
            if key in counts.totals
            and key not in counts.project_of
            and tried.issuperset(counts.below([key]))
        }
