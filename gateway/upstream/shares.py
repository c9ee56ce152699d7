"""The share of each project in the connections to one host: as many as are free beyond those of its
tenant, so that slow answers to some leave room for all others.

One project alone comes to a third of them, and its tenant with others to half; there is always as
much left for the next tenant. Slow answers are successes, which no breaker sees.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from gateway.upstream.http import HttpRequest, HttpResponse, NoPlace, Transport, always


class Holder(NamedTuple):
    """Who holds places: a project of a tenant."""

    tenant: str
    project: str = ""


class Places:
    """Those of one host. Who holds the fewest is served first."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._held: dict[Holder, int] = {}
        self._of_tenants: dict[str, int] = {}
        # No Counters, whose missing keys are looked up in Python.
        self._waiting: dict[Holder, deque[asyncio.Future[None]]] = {}

    def use(self) -> tuple[int, int]:
        """How many are held, and how many calls wait for one."""
        return sum(list(self._held.values())), sum(map(len, list(self._waiting.values())))

    def may_take(self, holder: Holder) -> bool:
        return self._holds(holder) < self._free and holder not in self._waiting

    def take(self, holder: Holder) -> None:
        self._free -= 1
        self._held[holder] = self._held.get(holder, 0) + 1
        self._of_tenants[holder.tenant] = self._of_tenants.get(holder.tenant, 0) + 1

    async def wait(self, holder: Holder) -> None:
        """As `take`, once the holder may."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(holder, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_back(holder)
            elif turn in self._waiting.get(holder, ()):
                self._forget(holder, turn)
            raise

    def give_back(self, holder: Holder) -> None:
        self._free += 1
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]
        self._of_tenants[holder.tenant] -= 1
        if not self._of_tenants[holder.tenant]:
            del self._of_tenants[holder.tenant]
        while self._waiting:
            next_one = min(self._waiting, key=self._holds)
            if self._holds(next_one) >= self._free:
                return
            turn = self._waiting[next_one][0]
            self._forget(next_one, turn)
            if not turn.done():
                self.take(next_one)
                turn.set_result(None)

    def _holds(self, holder: Holder) -> int:
        return self._of_tenants.get(holder.tenant, 0) + self._held.get(holder, 0)

    def _forget(self, holder: Holder, turn: asyncio.Future[None]) -> None:
        """Who is left of the holder comes after all who hold as few."""
        waiting = self._waiting.pop(holder)
        waiting.remove(turn)
        if waiting:
            self._waiting[holder] = waiting


class Share:
    """A transport for one project at one host, which waits for a place before it takes a
    connection.
    """

    def __init__(self, transport: Transport, places: Places, holder: Holder) -> None:
        self.connect_timeout_s = transport.connect_timeout_s
        self._transport = transport
        self._places = places
        self._holder = holder

    async def send(
        self,
        request: HttpRequest,
        timeout_s: float,
        may_write: Callable[[], bool] = always,
        *,
        connect_s: float | None = None,
    ) -> HttpResponse:
        """As Transport; the wait counts. The host is not to blame for it."""
        if self._places.may_take(self._holder):
            self._places.take(self._holder)
        else:
            began = time.monotonic()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._places.wait(self._holder)
            except TimeoutError:
                raise NoPlace from None
            timeout_s -= time.monotonic() - began
        try:
            return await self._transport.send(request, timeout_s, may_write, connect_s=connect_s)
        finally:
            self._places.give_back(self._holder)

    async def aclose(self) -> None:
        """Nothing: the transport is everybody's."""


class Shares:
    """Those of all projects at all hosts."""

    def __init__(self, transport: Transport, max_connections: int) -> None:
        self._transport = transport
        self.max_connections = max_connections
        self._hosts: dict[str, Places] = {}
        self._known: dict[tuple[str, Holder], Share] = {}

    def use(self) -> list[tuple[str, int, int]]:
        """Of each host: how many connections are in use, and how many calls wait for one."""
        return [(host, *places.use()) for host, places in list(self._hosts.items())]

    def of(self, endpoint: str, holder: Holder) -> Share:
        share = self._known.get((endpoint, holder))
        if share is None:
            places = self._hosts.setdefault(endpoint, Places(self.max_connections))
            share = self._known[endpoint, holder] = Share(self._transport, places, holder)
        return share
