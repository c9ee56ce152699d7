"""Rates and leases inside one process: the embedded store's own, and each replica's share while the shared store is down."""

from collections.abc import Sequence
from typing import Final

from gateway.clock import Clock
from gateway.state import gcra
from gateway.state.store import Bucket, Leased, Refused, Shortage, Slot, Taken

_TIDY_EVERY: Final = 4096


class LocalLimits:
    """Used from one event loop; nothing survives the process, which has no calls in flight after a restart either."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}
        self._leases: dict[str, dict[str, float]] = {}
        self._until_tidy = _TIDY_EVERY

    def take(self, buckets: Sequence[Bucket]) -> Taken:
        now = self._clock.monotonic()
        self._until_tidy -= 1
        if self._until_tidy <= 0:
            self._tidy(now)
        return gcra.take(self._full_at, buckets, now)

    def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        now = self._clock.monotonic()
        refused: list[Shortage] = []
        noted: list[Shortage] = []
        for slot in slots:
            held = self._held(slot.key, now)
            if holder not in held and len(held) >= slot.limit:
                (noted if slot.shadow else refused).append(Shortage(slot.key, slot.limit, len(held), 0, 1))
        if refused:
            return Refused(tuple(refused))
        for slot in slots:
            self._leases.setdefault(slot.key, {})[holder] = now + ttl_s
        return Leased(tuple(noted))

    def hold(self, holder: str, keys: Sequence[str], ttl_s: float) -> None:
        """Counts a holder that got its places elsewhere, whatever the limits."""
        for key in keys:
            self._leases.setdefault(key, {})[holder] = self._clock.monotonic() + ttl_s

    def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        now = self._clock.monotonic()
        kept = [key for key in keys if holder in self._held(key, now)]
        for key in kept:
            self._leases[key][holder] = now + ttl_s
        return len(kept) == len(keys)

    def free(self, holder: str, keys: Sequence[str]) -> None:
        for key in keys:
            held = self._leases.get(key, {})
            held.pop(holder, None)
            if not held:
                self._leases.pop(key, None)

    def _held(self, key: str, now: float) -> dict[str, float]:
        """The live holders of a key, without those whose lease is over."""
        held = self._leases.get(key, {})
        for holder in [holder for holder, until in held.items() if until <= now]:
            del held[holder]
        return held

    def _tidy(self, now: float) -> None:
        """Forgets full buckets and empty keys, so that memory follows the keys in use."""
        self._until_tidy = _TIDY_EVERY
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        self._leases = {key: held for key in list(self._leases) if (held := self._held(key, now))}
