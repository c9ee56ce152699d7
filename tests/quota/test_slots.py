"""Slots of calls: renewed for as long as they are held."""

import asyncio

from gateway.limits.slots import BEAT_S, LEASE_S, ConcurrencySlots, SlotRenewals
from gateway.state import Refused, Slot
from gateway.state.alone import OwnLimits
from tests.fakes import SteppedClock

SLOT = Slot("streams", 30)


class FailsOnce(OwnLimits):
    """A store that fails in a way that nobody has thought of, at the first renewal."""

    failed = False

    async def renew(self, holder, keys, ttl_s):
        if not self.failed:
            self.failed = True
            raise RuntimeError(holder)
        return await super().renew(holder, keys, ttl_s)


async def passed(clock, seconds):
    """Time, in steps that are shorter than the shortest sleep."""
    for _ in range(int(seconds / 0.25)):
        clock.advance(0.25)
        for _ in range(6):
            await asyncio.sleep(0)


async def test_slots_stay_taken_for_as_long_as_calls_hold_them():
    clock = SteppedClock()
    leases = FailsOnce(clock)
    renewals = SlotRenewals(leases, clock)
    async with renewals.running():
        held = []
        for number in range(SLOT.limit):
            await leases.lease(f"call {number}", [SLOT], LEASE_S)
            held.append(ConcurrencySlots(renewals, f"call {number}", [SLOT.key]))
        await passed(clock, 3 * LEASE_S)
        assert renewals.held() == SLOT.limit
        assert isinstance(await leases.lease("another", [SLOT], LEASE_S), Refused)
        for each in held:
            await each.leave()
        assert renewals.held() == 0
        assert not isinstance(await leases.lease("another", [SLOT], LEASE_S), Refused)
        await passed(clock, LEASE_S + BEAT_S)
        assert not isinstance(await leases.lease("one more", [Slot("streams", 1)], 1), Refused)
