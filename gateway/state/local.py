"""Rates and leases inside one process: the embedded store's own, and each replica's share while the
shared store is down.
"""

import heapq
from collections.abc import Sequence
from typing import Final

from gateway.clock import Clock
from gateway.state import gcra
from gateway.state.counters import Refused, Shortage
from gateway.state.leases import Leased, Slot
from gateway.state.rates import Bucket, Taken

_TIDY_EVERY: Final = 4096


class _Holders:
    """Who holds one key, and until when.

    Thousands of streams hold one and renew it again and again, so nothing here goes through all of
    them.
    """

    __slots__ = ("_ends", "_until")

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        # Also ends that were put off since: they are passed over when their time has come.
        self._ends: list[tuple[float, str]] = []

    def hold(self, holder: str, until: float) -> None:
        self._until[holder] = until
        heapq.heappush(self._ends, (until, holder))

    def free(self, holder: str) -> None:
        self._until.pop(holder, None)

    def live(self, now: float) -> dict[str, float]:
        """Without those whose lease is over."""
        while self._ends and self._ends[0][0] <= now:
            until, holder = heapq.heappop(self._ends)
            if self._until.get(holder) == until:
                del self._until[holder]
        return self._until


class LocalLimits:
    """For one event loop; nothing survives the process, whose calls in flight do not either."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._debts: dict[str, gcra.Debt] = {}
        self._leases: dict[str, _Holders] = {}
        self._until_tidy = _TIDY_EVERY

    def take(self, buckets: Sequence[Bucket]) -> Taken:
        now = self._clock.monotonic()
        self._until_tidy -= 1
        if self._until_tidy <= 0:
            self._tidy(now)
        return gcra.take(self._debts, buckets, now)

    def owed(self, buckets: Sequence[Bucket]) -> dict[str, float]:
        now, debts = self._clock.monotonic(), self._debts
        return {
            bucket.key: debts[bucket.key].left(bucket, now) if bucket.key in debts else 0.0
            for bucket in buckets
        }

    def held(self, keys: Sequence[str]) -> dict[str, int]:
        now = self._clock.monotonic()
        return {key: len(self._held(key, now)) for key in keys}

    def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        now = self._clock.monotonic()
        refused: list[Shortage] = []
        noted: list[Shortage] = []
        for slot in slots:
            held = self._held(slot.key, now)
            if holder not in held and len(held) >= slot.limit:
                (noted if slot.shadow else refused).append(
                    Shortage(slot.key, slot.limit, len(held), 0, 1)
                )
        if refused:
            return Refused(tuple(refused))
        for slot in slots:
            self._leases.setdefault(slot.key, _Holders()).hold(holder, now + ttl_s)
        return Leased(tuple(noted))

    def hold(self, holder: str, keys: Sequence[str], ttl_s: float) -> None:
        """Counts a holder that got its places elsewhere, whatever the limits."""
        for key in keys:
            self._leases.setdefault(key, _Holders()).hold(holder, self._clock.monotonic() + ttl_s)

    def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        now = self._clock.monotonic()
        kept = [key for key in keys if holder in self._held(key, now)]
        for key in kept:
            self._leases[key].hold(holder, now + ttl_s)
        return len(kept) == len(keys)

    def free(self, holder: str, keys: Sequence[str]) -> None:
        now = self._clock.monotonic()
        for key in keys:
            if key in self._leases:
                self._leases[key].free(holder)
                if not self._held(key, now):
                    del self._leases[key]

    def _held(self, key: str, now: float) -> dict[str, float]:
        """The live holders of a key."""
        return self._leases[key].live(now) if key in self._leases else {}

    def _tidy(self, now: float) -> None:
        """Forgets full buckets and empty keys, so that memory follows the keys in use."""
        self._until_tidy = _TIDY_EVERY
        self._debts = {key: debt for key, debt in self._debts.items() if debt.full_at() > now}
        self._leases = {key: holders for key, holders in self._leases.items() if holders.live(now)}
