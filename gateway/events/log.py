"""The last events of each tenant, for those who follow them: a bounded log in the store, of all
replicas together.

Whoever follows it reads on from a position. Events leave it when they are too many or too old; of
those that are too old the newest stays. So a position is known to have missed nothing as long as
the event there is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
from msgspec import Struct, field

from gateway.clock import Clock
from gateway.events.letters import Letter, read
from gateway.events.settings import EventSettings
from gateway.events.types import Event, encoded, type_of
from gateway.ids import new_id
from gateway.state import Queued, Queues, StoreDown
from gateway.watch.wake import Wake

_PAGE: Final = 100
_LOOK_S: Final = 1.0
"""Time between two looks at what other replicas have put."""
_PRUNE_S: Final = 60.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class _Followed(Struct):
    """A tenant whose events somebody follows. `newest`: the position up to which all were woken."""

    wakes: set[Wake] = field(default_factory=set)
    newest: int = 0


class EventLog(Struct):
    """One per process."""

    settings: EventSettings
    queues: Queues
    clock: Clock
    _followed: dict[str, _Followed] = field(default_factory=dict)
    _prune_at: dict[str, float] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        return self.settings.max_kept > 0

    async def put(self, event: Event) -> None:
        """Returns once the event is kept. Raises StoreDown; then it may be put again."""
        tenant = event.data.tenant
        if not (self.on and tenant):
            return
        letter = Letter(type_of(event), event.subject, self.clock.time(), encoded(event))
        name = _log_of(tenant)
        await self.queues.put(name, event.id, letter.packed(), self.settings.max_kept)
        self._wake(tenant)
        if self.clock.monotonic() >= self._prune_at.get(tenant, 0.0):
            self._prune_at[tenant] = self.clock.monotonic() + _PRUNE_S
            await self._prune(name)

    async def _prune(self, name: str) -> None:
        """Removes what is too old. The newest of it stays for those who have come up to there."""
        since = self.clock.time() - self.settings.keep_s
        oldest = await self.queues.read(name, 0, _PAGE)
        old = [each.key for each in oldest if _put_at(each) < since]
        if old[:-1]:
            await self.queues.remove(name, old[:-1])

    async def kept(self, tenant: str) -> list[Queued]:
        """The oldest events. Raises StoreDown."""
        return await self.queues.read(_log_of(tenant), 0, _PAGE)

    async def after(self, tenant: str, position: int, key: str) -> list[Queued] | None:
        """The next events behind one; None: nobody knows, since it is not kept any more.

        Raises StoreDown.
        """
        found = await self.queues.read(_log_of(tenant), position - 1, _PAGE)
        known = found and (found[0].position, found[0].key) == (position, key)
        return found[1:] if known else None

    async def end(self, tenant: str) -> Queued:
        """The newest entry; where there is none, one that holds no event. Raises StoreDown."""
        name = _log_of(tenant)
        newest = await self.queues.last(name)
        if newest is None:
            await self.queues.put(name, f"begin-{new_id()}", b"", self.settings.max_kept)
            newest = await self.queues.last(name)
        assert newest is not None
        return newest

    # Those who follow
    # ----------------------------------------------------------------------------------------------

    @contextmanager
    def followed(self, tenant: str, wake: Wake) -> Iterator[None]:
        """Until left, `wake` is set whenever there may be a new event of the tenant."""
        followed = self._followed.setdefault(tenant, _Followed())
        followed.wakes.add(wake)
        try:
            yield
        finally:
            followed.wakes.discard(wake)
            if not followed.wakes:
                self._followed.pop(tenant, None)

    async def run(self) -> None:
        """Looks for what other replicas have put, until cancelled."""
        while True:
            await self.clock.sleep(_LOOK_S)
            for tenant, followed in list(self._followed.items()):
                try:
                    page = await self.queues.read(_log_of(tenant), followed.newest, _PAGE)
                except StoreDown:
                    break
                if page:
                    followed.newest = page[-1].position
                    self._wake(tenant)

    def _wake(self, tenant: str) -> None:
        followed = self._followed.get(tenant)
        for wake in followed.wakes if followed is not None else ():
            wake.set()


def _log_of(tenant: str) -> str:
    return f"event_log:{tenant}"


def _put_at(entry: Queued) -> float:
    letter = read(entry.value, Letter)
    return letter.put_at if letter is not None else 0.0
