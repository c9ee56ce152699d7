"""Lets the replicas that share a store poll a project in turns: whose turn it is polls, and the
others hear what it has read.

A turn is a lease, so that one who dies in it is followed by another when the lease is over. What is
heard is a whole listing: who has missed one, or needs more than it shows, polls for itself. So
nothing depends on the store: while it is down everybody polls.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import structlog
from cbrgateway.v1 import task_pb2
from google.protobuf.message import DecodeError

from gateway.clock import Clock
from gateway.state import Channel, Heard, Leased, Leases, Slot, StoreDown
from gateway.watch.table import Listing

_MOST_BYTES: Final = 2 * 1024 * 1024
"""A listing above this is not shared: then everybody polls for itself."""
_PAUSE_S: Final = 1.0
_DOUBT_S: Final = 0.1
"""How long publishing may take, by which what is heard may be older than it says."""
_CHANNEL: Final = "polls:"

log: structlog.stdlib.BoundLogger = structlog.get_logger()

Take = Callable[[Listing, float], None]
"""Hears a listing of another process, and when its poll began, by the monotonic clock."""


class _Head(msgspec.Struct, frozen=True):
    """What stands before the tasks of a listing.

    `owner`: who polled; `took_s`: from its beginning until it was published.
    """

    owner: str
    took_s: float
    complete_since_us: int
    cut: bool
    absent: tuple[str, ...]


class PollLease:
    """One per process.

    `owner` names the process; `turn_s`: after which time another one follows who died in its turn.
    """

    def __init__(
        self, leases: Leases, channel: Channel, owner: str, clock: Clock, turn_s: float
    ) -> None:
        self._leases, self._channel = leases, channel
        self._owner, self._clock, self._turn_s = owner, clock, turn_s
        self._takers: dict[str, Take] = {}
        self._positions: dict[str, str] = {}
        self._joined = asyncio.Event()

    @contextlib.asynccontextmanager
    async def turn(self, project: str) -> AsyncIterator[bool]:
        """Whether this process may poll now."""
        slot = Slot(f"{_CHANNEL}{project}", 1)
        mine = isinstance(await self._leases.lease(self._owner, [slot], self._turn_s), Leased)
        try:
            yield mine
        finally:
            if mine:
                await self._leases.free(self._owner, [slot.key])

    async def publish(self, project: str, listing: Listing, tasks: bytes, began: float) -> None:
        """A poll of this process that began at that moment.

        `tasks`: those of the listing, as a ListTasksResponse.
        """
        if len(tasks) > _MOST_BYTES:
            return
        took_s = self._clock.monotonic() - began
        head = _Head(
            self._owner, took_s, listing.complete_since_us, listing.cut, tuple(listing.absent)
        )
        with contextlib.suppress(StoreDown):
            await self._channel.publish(
                f"{_CHANNEL}{project}", msgspec.json.encode(head) + b"\n" + tasks
            )

    def join(self, project: str, take: Take) -> None:
        """Until `leave`, `take` hears of the polls of others."""
        self._takers[project] = take
        self._positions[f"{_CHANNEL}{project}"] = "0"
        self._joined.set()

    def leave(self, project: str) -> None:
        del self._takers[project], self._positions[f"{_CHANNEL}{project}"]

    async def run(self) -> None:
        """Hears until cancelled."""
        while True:
            self._joined.clear()
            if not self._positions:
                await self._joined.wait()
            try:
                told = await self._channel.heard(self._positions)
            except StoreDown:
                await self._clock.sleep(_PAUSE_S)
                continue
            for each in told:
                self._tell(each)

    def _tell(self, heard: Heard) -> None:
        project = heard.channel.removeprefix(_CHANNEL)
        if project not in self._takers:
            return
        self._positions[heard.channel] = heard.position
        head_bytes, _, tasks = heard.payload.partition(b"\n")
        try:
            head = msgspec.json.decode(head_bytes, type=_Head)
            listing = Listing(
                task_pb2.ListTasksResponse.FromString(tasks).tasks,
                head.absent,
                head.complete_since_us,
                head.cut,
            )
        except (msgspec.DecodeError, DecodeError):
            log.warning(
                "what another replica has read of the tasks cannot be understood; is it of another"
                " version?",
                project=project,
            )
            return
        if head.owner == self._owner:
            return
        try:
            self._takers[project](
                listing, self._clock.monotonic() - heard.ago_s - head.took_s - _DOUBT_S
            )
        except Exception:
            log.exception("a poll of another replica could not be taken in", project=project)
