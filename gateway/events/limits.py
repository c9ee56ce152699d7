"""Limits of which 80 or 100 % are used, as events: once a day for each limit and percentage."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import structlog
from msgspec import Struct, field

from gateway.clock import Clock
from gateway.events.publisher import Publisher
from gateway.events.types import LimitData, LimitReached, moment
from gateway.limits.counted import counted
from gateway.limits.limits import Applied, Level, Limits, Scope, day_of
from gateway.state import Counters, Leased, Leases, Slot, StoreDown, Usage

LOOK_S: Final = 30.0
"""Time between two looks."""
_SLOT: Final = Slot("event_limits", 1)
_AT_ONCE: Final = 500
_PERCENTAGES: Final[tuple[Literal[80, 100], ...]] = (80, 100)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class LimitEvents(Struct):
    """One per process; one replica at a time looks. `in_force`: the limits, and whose they are."""

    publisher: Publisher
    counters: Counters
    leases: Leases
    owner: str
    source: str
    clock: Clock
    in_force: Callable[[], tuple[Limits, Sequence[Scope]]]
    _told: dict[str, None] = field(default_factory=dict)
    """Ids of today's events that are put already."""
    _day: str = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._look()
            except StoreDown:
                pass
            except Exception:
                log.exception("a look at the limits for events failed; the next one follows")
            await self.clock.sleep(LOOK_S)

    async def _look(self) -> None:
        if not isinstance(await self.leases.lease(self.owner, [_SLOT], 3 * LOOK_S), Leased):
            return
        day = day_of(self.clock.time())[0]
        if day != self._day:
            self._day, self._told = day, {}
        limits, scopes = self.in_force()
        keys = counted(limits, scopes, day)
        tenants = {scope.project: scope.tenant for scope in scopes}
        names = list(keys)
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            for key, usage in (await self.counters.usage(some)).items():
                await self._tell(keys[key], key, usage, tenants)

    async def _tell(
        self, applied: Applied, key: str, usage: Usage, tenants: Mapping[str, str]
    ) -> None:
        used, most = usage.committed + usage.reserved, applied.limit.value
        for percent in _PERCENTAGES:
            # Short, and nothing but ASCII, whatever the subject is called.
            name = hashlib.sha256(key.encode()).hexdigest()[:32]
            event_id = f"limit-{name}-{self._day}-{percent}"
            if used and used * 100 >= most * percent and event_id not in self._told:
                await self.publisher.put(self._event(event_id, applied, used, percent, tenants))
                self._told[event_id] = None

    def _event(
        self,
        event_id: str,
        applied: Applied,
        used: int,
        percent: Literal[80, 100],
        tenants: Mapping[str, str],
    ) -> LimitReached:
        limit, subject = applied.limit, applied.subject
        return LimitReached(
            id=event_id,
            source=self.source,
            subject=f"limits/{limit.metric}/{limit.level}/{subject}",
            time=moment(self.clock.time()),
            data=LimitData(
                outcome="reached",
                percent=percent,
                metric=str(limit.metric),
                level=str(limit.level),
                subject=subject,
                limit=limit.value,
                used=used,
                shadow=limit.shadow,
                tenant=subject if limit.level is Level.TENANT else tenants.get(subject, ""),
            ),
        )
