"""Each tenant's share of the connections to one host: as many as are free, so that slow answers to
some leave room for all others.

One tenant alone comes to half of them, two to a third each, nine to a tenth each; and there is
always as much left for the next one. Slow answers are successes, which no breaker sees.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable

from gateway.upstream.http import HttpRequest, HttpResponse, NoPlace, Transport, always


class Places:
    """Those of one host. Who holds the fewest is served first."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def use(self) -> tuple[int, int]:
        """How many are held, and how many calls wait for one."""
        return self._held.total(), sum(map(len, list(self._waiting.values())))

    def may_take(self, tenant: str) -> bool:
        return self._held[tenant] < self._free and tenant not in self._waiting

    def take(self, tenant: str) -> None:
        self._free -= 1
        self._held[tenant] += 1

    async def wait(self, tenant: str) -> None:
        """As `take`, once the tenant may."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.give_back(tenant)
            elif turn in self._waiting.get(tenant, ()):
                self._forget(tenant, turn)
            raise

    def give_back(self, tenant: str) -> None:
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        while self._waiting:
            next_one = min(self._waiting, key=self._held.__getitem__)
            if self._held[next_one] >= self._free:
                return
            turn = self._waiting[next_one][0]
            self._forget(next_one, turn)
            if not turn.done():
                self.take(next_one)
                turn.set_result(None)

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting[tenant]
        waiting.remove(turn)
        if not waiting:
            del self._waiting[tenant]


class Share:
    """A transport for one tenant at one host, which waits for a place before it takes a
    connection.
    """

    def __init__(self, transport: Transport, places: Places, tenant: str) -> None:
        self.connect_timeout_s = transport.connect_timeout_s
        self._transport = transport
        self._places = places
        self._tenant = tenant

    async def send(
        self,
        request: HttpRequest,
        timeout_s: float,
        may_write: Callable[[], bool] = always,
        *,
        connect_s: float | None = None,
    ) -> HttpResponse:
        """As Transport; the wait counts. The host is not to blame for it."""
        if self._places.may_take(self._tenant):
            self._places.take(self._tenant)
        else:
            began = time.monotonic()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._places.wait(self._tenant)
            except TimeoutError:
                raise NoPlace from None
            timeout_s -= time.monotonic() - began
        try:
            return await self._transport.send(request, timeout_s, may_write, connect_s=connect_s)
        finally:
            self._places.give_back(self._tenant)

    async def aclose(self) -> None:
        """Nothing: the transport is everybody's."""


class Shares:
    """Those of all tenants at all hosts."""

    def __init__(self, transport: Transport, max_connections: int) -> None:
        self._transport = transport
        self.max_connections = max_connections
        self._hosts: dict[str, Places] = {}
        self._known: dict[tuple[str, str], Share] = {}

    def use(self) -> list[tuple[str, int, int]]:
        """Of each host: how many connections are in use, and how many calls wait for one."""
        return [(host, *places.use()) for host, places in list(self._hosts.items())]

    def of(self, endpoint: str, tenant: str) -> Share:
        share = self._known.get((endpoint, tenant))
        if share is None:
            places = self._hosts.setdefault(endpoint, Places(self.max_connections))
            share = self._known[endpoint, tenant] = Share(self._transport, places, tenant)
        return share
