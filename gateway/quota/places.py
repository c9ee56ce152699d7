"""A call's places under limits of concurrency, leased until the change itself has ended, not only until its caller is answered."""

import asyncio
from collections.abc import Sequence
from typing import Final

from gateway import failpoint
from gateway.clock import Clock
from gateway.state import Store, StoreDown

LEASE_S: Final = 15.0
_BEAT_S: Final = 5.0


class Places:
    """Held by the call and, while it runs, by the change; free when both have left."""

    def __init__(self, store: Store, clock: Clock, holder: str, keys: Sequence[str]) -> None:
        self._store = store
        self._clock = clock
        self._holder = holder
        self._keys = keys
        self._inside = 1
        self._beats = asyncio.create_task(self._beat()) if keys else None

    def enter(self) -> None:
        self._inside += 1

    async def leave(self) -> None:
        self._inside -= 1
        if self._inside or self._beats is None:
            return
        self._beats.cancel()
        failpoint.reach("before_places_free")
        try:
            await self._store.free(self._holder, self._keys)
        except StoreDown:
            # The lease ends by itself.
            return

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(_BEAT_S)
            try:
                await self._store.renew(self._holder, self._keys, LEASE_S)
            except StoreDown:
                continue
