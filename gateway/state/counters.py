"""Counters: how much is there, how much is reserved, and what was short.

What exists is CBR's to know; `recount` puts the counters right.
"""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from msgspec import Struct

MAX_AMOUNT: Final = 2**53 - 1


class Charge(Struct, frozen=True):
    """Asks for `amount` on the counter `key`: refused when committed + reserved + amount would be
    above `limit` (None: count only).

    `shadow`: never refuses, only reports. `expires_at`: seconds since 1970 at which the whole
    counter is forgotten, for volume per day.
    """

    key: str
    amount: int
    limit: int | None
    shadow: bool = False
    expires_at: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.amount <= MAX_AMOUNT:
            raise ValueError(
                f"the amount of a charge must be from 0 to {MAX_AMOUNT}: {self.amount}"
            )


class Shortage(Struct, frozen=True):
    """A limit that did not allow what was asked.

    `used`: committed; `reserved`: held by open operations. For a lease: `used` are the holders.
    """

    key: str
    limit: int
    used: int
    reserved: int
    asked: int


class Refused(Struct, frozen=True):
    """Nothing was stored. `shortages`: every limit that was violated."""

    shortages: tuple[Shortage, ...]


class Usage(Struct, frozen=True):
    """A counter.

    `reserved` includes `uncertain`, the share of UNKNOWN operations; `counted_at`: time of the last
    recount, None before the first.
    """

    committed: int = 0
    reserved: int = 0
    uncertain: int = 0
    counted_at: float | None = None


class Total(Struct, frozen=True):
    """A counter that adds up others, which every operation charges beside it.

    `assumed` stands in for each of them that was never counted.
    """

    parts: tuple[str, ...]
    assumed: int = 0


NO_TOTALS: Final[Mapping[str, Total]] = MappingProxyType({})


class Counters(Protocol):
    """What is committed; what is reserved moves with its operation (`OperationStore`)."""

    async def usage(self, keys: Sequence[str]) -> Mapping[str, Usage]:
        """One entry for each key, also for unknown ones."""
        ...

    async def fence(self) -> int:
        """A number greater than all before it, to take before a listing begins."""
        ...

    async def adjust(
        self, key: str, delta: int, resource_id: str, since: int | None = None
    ) -> bool:
        """Adds `delta` to what is committed, once for each (resource_id, key), never below 0: that
        object is gone, and no recount waits to see it.

        `since`: a `fence` taken before a delete was sent. A recount that began later may have
        missed the object already, so that a negative delta is dropped then, and False returned: too
        high until the next recount rather than too low.
        """
        ...

    async def recount(
        self,
        counts: Mapping[str, int],
        fence: int,
        seen_ids: Collection[str],
        settle_s: float = 0.0,
        sums: Mapping[str, Total] = NO_TOTALS,
    ) -> None:
        """Sets what is committed to what a listing that began after `fence` showed; then sets each
        counter of `sums` to its total.

        Operations committed since then, or within the last `settle_s`, are added unless `seen_ids`
        has their resource_id or their own id, or `adjust` was told that the object is gone. Dropped
        for a key that a later listing has set.
        """
        ...
