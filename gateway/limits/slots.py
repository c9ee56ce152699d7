"""A call's slots under limits of concurrency, leased until the change itself has ended, not only
until its caller is answered.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway import failpoint
from gateway.clock import Clock
from gateway.state import Leases, StoreDown

LEASE_S: Final = 15.0
BEAT_S: Final = 5.0


class ConcurrencySlots:
    """Held by the call and, while it runs, by the change; free when both have left.

    `lasting`: those that the work behind a change holds as well.
    """

    def __init__(
        self,
        leases: Leases,
        clock: Clock,
        holder: str,
        keys: Sequence[str],
        lasting: Sequence[str] = (),
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._holder = holder
        self._keys = keys
        self.lasting = tuple(lasting)
        self.taken = bool(keys)
        """Whether there is anything to leave."""
        self._inside = 1
        self._beats = asyncio.create_task(self._beat()) if keys else None

    def enter(self) -> None:
        self._inside += 1

    def hand_over(self) -> None:
        """The lasting ones have another keeper from now on."""
        self._keys = [key for key in self._keys if key not in self.lasting]

    async def leave(self) -> None:
        self._inside -= 1
        if self._inside or self._beats is None:
            return
        self._beats.cancel()
        failpoint.reach("before_slots_free")
        try:
            await self._leases.free(self._holder, self._keys)
        except StoreDown:
            # The lease ends by itself.
            return

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(BEAT_S)
            try:
                await self._leases.renew(self._holder, self._keys, LEASE_S)
            except StoreDown:
                continue
