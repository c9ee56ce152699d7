"""A lock for each object: one change at a time to one, as far as this process makes them.

Without it, the repeat of a change whose answer was lost could undo a newer one of ours. A change
names its object; one that is for all objects of a project excludes every other change there.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class KeyedLock:
    """Of all projects and objects; only those that are taken or waited for take memory."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str], _Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def held(
        self, project_id: str, thing: str, *, whole_project: bool
    ) -> AsyncIterator[None]:
        """Holds the lock for a `thing` of a project (empty: it names none), or for the whole
        project. Waits in the order of arrival.
        """
        async with self._of(project_id, "").held(exclusive=whole_project):
            if not thing:
                yield
                return
            async with self._of(project_id, thing).held(exclusive=True):
                yield

    def _of(self, project_id: str, thing: str) -> "_Lock":
        return self._locks.setdefault((project_id, thing), _Lock())


class _Lock:
    """Held by one alone, or by any number who share it; first come, first served."""

    def __init__(self) -> None:
        self._holders = 0
        self._alone = False
        self._waiting: deque[tuple[asyncio.Future[None], bool]] = deque()

    @asynccontextmanager
    async def held(self, *, exclusive: bool) -> AsyncIterator[None]:
        await self._take(exclusive=exclusive)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, *, exclusive: bool) -> None:
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, exclusive))
        self._admit()
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                # Who stood behind may be able to go now.
                self._admit()
            else:
                # Admitted in the same moment.
                self._give_back()
            raise

    def _give_back(self) -> None:
        self._holders -= 1
        self._alone = False
        self._admit()

    def _admit(self) -> None:
        """Lets in those at the head of the queue, as many as may hold the lock together."""
        while self._waiting:
            place, exclusive = self._waiting[0]
            if not place.cancelled():
                if self._alone or (exclusive and self._holders):
                    return
                self._holders += 1
                self._alone = exclusive
                place.set_result(None)
            self._waiting.popleft()
