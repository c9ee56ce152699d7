"""One stream of WatchEvents, from its first message to its end."""

from collections import deque
from collections.abc import Collection
from typing import Any, Final

import msgspec
from cbrgateway.v1 import event_service_pb2, task_pb2

from gateway.clock import moment
from gateway.events.letters import Letter, read
from gateway.events.log import EventLog
from gateway.events.positions import Position, Positions, owner_of
from gateway.state import Queued, StoreDown
from gateway.watch.resume import expired
from gateway.watch.stream_life import StreamLife

_STORE_S: Final = 1.0
"""Pause after the store did not answer."""


class Wanted(msgspec.Struct, frozen=True):
    """What one stream was asked for. `since`: where it goes on; None: a new one. `hidden`: kinds
    of objects of which the caller is told no more than that there are some.
    """

    tenant: str
    filter: event_service_pb2.EventFilter
    since: Position | None
    include_kept: bool
    fails_on_gap: bool
    hidden: Collection[str] = ()

    def shows(self, event: dict[str, Any]) -> bool:
        wanted, data = self.filter, event["data"]
        return (
            (not wanted.types or event["type"] in wanted.types)
            and (not wanted.outcomes or data["outcome"] in wanted.outcomes)
            and (not wanted.projects or data.get("project") in wanted.projects)
        )

    def told(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event, with no more of what was lost than its caller may list."""
        for each in event["data"].get("losses", ()):
            if each["type"] in self.hidden:
                kind = each["type"]
                each.clear()
                each.update(type=kind, count=0, withheld=True)
        return event


class EventStream:
    """`run` returns when the gateway has ended it in order."""

    def __init__(
        self, log: EventLog, life: StreamLife, positions: Positions, wanted: Wanted
    ) -> None:
        self._log, self._life, self._positions, self._wanted = log, life, positions, wanted
        self._owner = owner_of(wanted.tenant, wanted.filter)
        self._at = wanted.since
        """The last event that is told; None: none, and all that are kept are to come."""
        self._waiting: deque[Queued] = deque()
        self._caught_up = False

    async def run(self) -> None:
        """Raises StoreDown before the first message, RESUME_TOKEN_EXPIRED and CALLER_TOO_SLOW."""
        await self._life.begin()
        if self._at is None:
            end = await self._log.end(self._wanted.tenant)
            if not self._wanted.include_kept:
                self._reach(end)
        while True:
            self._life.wake.clear()
            if await self._life.ended():
                return
            if self._life.beats():
                await self._beat()
            elif self._waiting:
                await self._tell(self._waiting.popleft())
            else:
                await self._more()

    async def _more(self) -> None:
        """Reads on; where there is nothing, waits."""
        tenant, at = self._wanted.tenant, self._at
        try:
            page = (
                await self._log.kept(tenant)
                if at is None
                else await self._log.after(tenant, at.position, at.key)
            )
        except StoreDown:
            await self._life.rest(_STORE_S)
            return
        if page is None:
            await self._gap()
        elif page:
            self._waiting.extend(page)
        elif self._caught_up:
            await self._life.rest()
        else:
            self._caught_up = True
            await self._beat()

    async def _gap(self) -> None:
        """Events may have left the log before they were told."""
        if self._wanted.fails_on_gap:
            raise expired("the next event or, with include_kept, with those that are kept")
        assert self._at is not None
        reason = "Events after the token are not kept any more."
        gap = task_pb2.WatchGap(since_time=moment(self._at.made), reason=reason)
        self._at = None
        await self._life.send(gap=gap)

    async def _beat(self) -> None:
        await self._life.send(heartbeat=event_service_pb2.EventHeartbeat())

    async def _tell(self, entry: Queued) -> None:
        self._reach(entry)
        letter = read(entry.value, Letter)
        if letter is not None and self._wanted.shows(event := msgspec.json.decode(letter.body)):
            await self._life.send(cloud_event=as_message(self._wanted.told(event)))

    def _reach(self, entry: Queued) -> None:
        """Everything up to there is told, or will be by the next message."""
        self._at = self._positions.at(self._owner, entry)
        self._life.token = self._positions.token(self._at)


def as_message(event: dict[str, Any]) -> event_service_pb2.CloudEvent:
    """From the JSON, so that another version's events are shown, too."""
    shown = event_service_pb2.CloudEvent(
        id=event["id"],
        source=event["source"],
        spec_version=event["specversion"],
        type=event["type"],
        subject=event["subject"],
    )
    shown.time.FromJsonString(event["time"])
    shown.data.update(event["data"])
    return shown
