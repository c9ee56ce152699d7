"""Rates."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """`rate_per_s` (above 0) on average, `burst` at once. A `cost` above `burst` is never allowed.

    `whole_burst`: of the limit of which this is a share, whose burst depends on the cost; None: it
    is no share.
    """

    key: str
    rate_per_s: float
    burst: float
    cost: float = 1
    shadow: bool = False
    whole_burst: float | None = None

    @property
    def deepest(self) -> float:
        """What can be owed at most."""
        return self.burst if self.whole_burst is None else self.whole_burst


class Taken(msgspec.Struct, frozen=True, gc=False):
    """`remaining` calls and `reset_s` until full: of the tightest bucket.

    `retry_after_s`: 0 when allowed, infinite when never allowed.

    `violated`: keys that refused; `would_refuse`: shadow keys that would have.
    """

    allowed: bool
    remaining: int
    reset_s: float
    retry_after_s: float
    violated: tuple[str, ...] = ()
    would_refuse: tuple[str, ...] = ()


class RateLimiter(Protocol):
    """`take` falls back on a local share rather than raise StoreDown."""

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        """Takes from all buckets or none."""
        ...

    async def owed(self, buckets: Sequence[Bucket]) -> Mapping[str, float]:
        """What each bucket owes now, by key; takes nothing. Raises StoreDown."""
        ...
