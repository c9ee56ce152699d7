"""Lets calls in: rates, and the slots of reads, before the request is read; the slots of a change
after it, since one that is only validated takes none.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
import structlog

from gateway import failpoint
from gateway.limits import refusals
from gateway.limits.limits import COST, Applied, Scope, method_class
from gateway.limits.overrides import LimitOverrides
from gateway.limits.slots import LEASE_S, ConcurrencySlots, SlotRenewals
from gateway.state import Leases, RateLimiter, Refused, StoreDown
from gateway.upstream.amounts import Metric
from gateway.upstream.declaration import Binding

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Entry(msgspec.Struct, gc=False):
    """A call that was let in. `trailers`: what its caller is told of its rate limits."""

    trailers: dict[str, str]
    slots: ConcurrencySlots


class Admission(msgspec.Struct, frozen=True):
    """One per process."""

    rates: RateLimiter
    leases: Leases
    overrides: LimitOverrides
    renewals: SlotRenewals

    async def enter(self, scope: Scope, binding: Binding, holder: str) -> Entry:
        """Lets a call in, which leaves its slots at its end; a change takes them later.

        Raises RATE_LIMIT, CONCURRENCY_LIMIT, STREAM_LIMIT or QUOTA_STORE_DOWN.
        """
        limits = self.overrides.limits
        calls = method_class(binding)
        rates = limits.rates(scope, calls)
        slots = limits.slots(scope, binding) if binding.reads else []
        try:
            trailers = await self._take(rates, COST[calls]) if rates else {}
            if slots:
                await self._occupy(slots, holder)
        except StoreDown:
            raise refusals.store_down("The store of rates does not answer.") from None
        if not slots:
            return Entry(trailers, ConcurrencySlots(self.renewals, holder, ()))
        return Entry(trailers, self._held(slots, holder))

    async def enter_change(self, scope: Scope, binding: Binding, holder: str) -> ConcurrencySlots:
        """The slots of a change that is to be made.

        Raises CONCURRENCY_LIMIT or QUOTA_STORE_DOWN.
        """
        slots = self.overrides.limits.slots(scope, binding)
        if slots:
            try:
                await self._occupy(slots, holder)
            except StoreDown:
                raise refusals.store_down("The store of rates does not answer.") from None
        return self._held(slots, holder)

    def _held(self, slots: Sequence[Applied], holder: str) -> ConcurrencySlots:
        lasting = [a.key() for a in slots if a.limit.metric is Metric.CONCURRENT_RESTORES]
        return ConcurrencySlots(self.renewals, holder, [a.key() for a in slots], lasting)

    async def _take(self, rates: Sequence[Applied], cost: int) -> dict[str, str]:
        taken = await self.rates.take([applied.bucket(cost) for applied in rates])
        self.overrides.note_shadow(taken.would_refuse)
        burst = min((a.limit.burst for a in rates if not a.limit.shadow), default=None)
        trailers = {}
        if burst is not None:
            trailers = {
                "ratelimit-limit": f"{burst:g}",
                "ratelimit-remaining": str(taken.remaining),
                "ratelimit-reset": f"{taken.reset_s:.3f}",
            }
        if not taken.allowed:
            error = refusals.too_fast(taken, rates)
            error.trailers = trailers
            raise error
        return trailers

    async def _occupy(self, slots: Sequence[Applied], holder: str) -> None:
        wanted = [applied.slot() for applied in slots]
        try:
            leased = await self.leases.lease(holder, wanted, LEASE_S)
        except asyncio.CancelledError:
            # The caller has gone; the slots may have been taken all the same.
            with suppress(StoreDown):
                await self.leases.free(holder, [slot.key for slot in wanted])
            raise
        if isinstance(leased, Refused):
            raise refusals.too_many(leased.shortages, slots)
        failpoint.reach("after_slots")
        self.overrides.note_shadow([shortage.key for shortage in leased.would_refuse])
