"""What a process has for itself that shares its store with nobody: rates and leases in memory."""

import asyncio
from collections.abc import Mapping, Sequence

from gateway.clock import Clock
from gateway.state.channel import Heard
from gateway.state.counters import Refused
from gateway.state.leases import Leased, Slot
from gateway.state.local import LocalLimits
from gateway.state.rates import Bucket, Taken


class OwnLimits:
    """A RateLimiter and Leases that this process has for itself."""

    def __init__(self, clock: Clock) -> None:
        self._limits = LocalLimits(clock)

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        return self._limits.take(buckets)

    async def owed(self, buckets: Sequence[Bucket]) -> Mapping[str, float]:
        return self._limits.owed(buckets)

    async def held(self, keys: Sequence[str]) -> Mapping[str, int]:
        return self._limits.held(keys)

    async def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        return self._limits.lease(holder, slots, ttl_s)

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        return self._limits.renew(holder, keys, ttl_s)

    async def free(self, holder: str, keys: Sequence[str]) -> None:
        self._limits.free(holder, keys)

    async def beat(self, process: str, ttl_s: float) -> tuple[bool, frozenset[str]]:  # noqa: ARG002 - the file ends with its process
        return True, frozenset({process})

    async def left(self, process: str) -> None:
        """Nobody else has heard of it."""


class NobodyElse:
    """A Channel without others on it."""

    async def publish(self, channel: str, payload: bytes) -> None:
        """The only process knows it."""

    async def heard(self, after: Mapping[str, str]) -> list[Heard]:  # noqa: ARG002 - nobody else publishes
        await asyncio.Event().wait()
        return []
