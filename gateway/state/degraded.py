"""What still works while the shared store is down: rates and concurrency, within this replica's
share. Nothing else may guess.

A share is the limit divided by the replicas, at least 1, so that a fleet together stays near the
limit and no tenant is cut off.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import structlog
from msgspec.structs import replace

from gateway.clock import Clock
from gateway.state.counters import Refused
from gateway.state.errors import StoreDown
from gateway.state.leases import Leased, Leases, Slot
from gateway.state.local import LocalLimits
from gateway.state.rates import Bucket, RateLimiter, Taken

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.get_logger()

_PAUSE_S: Final = 1.0
"""After a failure the store is left alone for so long: a call does not pay its timeout for a rate
that has a local answer.
"""


class LocalShare:
    """A RateLimiter and Leases: asks the shared ones first, and answers itself while they are
    down.
    """

    def __init__(self, rates: RateLimiter, leases: Leases, clock: Clock, replicas: int) -> None:
        self._rates, self._leases = rates, leases
        self.owed, self.held = rates.owed, leases.held
        self.beat, self.left = leases.beat, leases.left
        self._clock = clock
        self._replicas = replicas
        self._limits = LocalLimits(clock)
        self._ask_again_at = 0.0
        self._down = False

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        return await self._either(
            lambda: self._rates.take(buckets),
            lambda: self._limits.take([self._bucket_share(bucket) for bucket in buckets]),
        )

    async def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        return await self._either(
            lambda: self._leases.lease(holder, slots, ttl_s),
            lambda: self._limits.lease(holder, [self._slot_share(slot) for slot in slots], ttl_s),
        )

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        """A holder keeps its places through the outage, and counts against the local share."""

        def keep() -> bool:
            self._limits.hold(holder, keys, ttl_s)
            return True

        shared = await self._either(lambda: self._leases.renew(holder, keys, ttl_s), keep)
        return shared or self._limits.renew(holder, keys, ttl_s)

    async def free(self, holder: str, keys: Sequence[str]) -> None:
        """What cannot be freed in the shared store ends by its ttl."""
        self._limits.free(holder, keys)
        await self._either(lambda: self._leases.free(holder, keys), lambda: None)

    def _slot_share(self, slot: Slot) -> Slot:
        share = max(1, slot.limit // self._replicas) if slot.limit else 0
        return replace(slot, limit=share)

    def _bucket_share(self, bucket: Bucket) -> Bucket:
        burst = min(bucket.burst, max(1, bucket.cost, bucket.burst / self._replicas))
        return replace(
            bucket,
            rate_per_s=bucket.rate_per_s / self._replicas,
            burst=burst,
            whole_burst=bucket.burst,
        )

    async def _either(self, shared: Callable[[], Awaitable[T]], local: Callable[[], T]) -> T:
        if self._clock.monotonic() >= self._ask_again_at:
            try:
                answer = await shared()
            except StoreDown as error:
                self._ask_again_at = self._clock.monotonic() + _PAUSE_S
                self._note(down=True, reason=str(error))
            else:
                self._note(down=False)
                return answer
        return local()

    def _note(self, *, down: bool, reason: str = "") -> None:
        if down is self._down:
            return
        self._down = down
        if down:
            log.warning(
                "shared store is down: rates and concurrency use the local share",
                reason=reason,
                replicas=self._replicas,
            )
        else:
            log.info("shared store is back: rates and concurrency are shared again")
