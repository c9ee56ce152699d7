"""Each tenant's share of the connections to one host: half of them, so that slow answers to one leave room for the others.

Slow answers are successes, which no breaker sees.
"""

import asyncio
import time
from collections.abc import Callable

from gateway.upstream.http import HttpRequest, HttpResponse, NotSent, Transport, always


class Share:
    """A transport for one tenant at one host, which waits for a place among the tenant's own before it takes a connection."""

    def __init__(self, transport: Transport, places: int) -> None:
        self.connect_timeout_s = transport.connect_timeout_s
        self._transport = transport
        self._places = asyncio.Semaphore(places)

    async def send(
        self, request: HttpRequest, timeout_s: float, may_write: Callable[[], bool] = always, *, connect_s: float | None = None
    ) -> HttpResponse:
        """As Transport; the wait counts. The host is not to blame for it."""
        if self._places.locked():
            began = time.monotonic()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._places.acquire()
            except TimeoutError:
                raise NotSent("none of the tenant's places among the connections came free", patience_s=0.0) from None
            timeout_s -= time.monotonic() - began
        else:
            await self._places.acquire()
        try:
            return await self._transport.send(request, timeout_s, may_write, connect_s=connect_s)
        finally:
            self._places.release()

    async def aclose(self) -> None:
        """Nothing: the transport is everybody's."""


class Shares:
    """Those of all tenants at all hosts."""

    def __init__(self, transport: Transport, max_connections: int) -> None:
        self._transport = transport
        self._most = max(1, max_connections // 2)
        self._known: dict[tuple[str, str], Share] = {}

    def of(self, endpoint: str, tenant: str) -> Share:
        share = self._known.get((endpoint, tenant))
        if share is None:
            share = self._known[endpoint, tenant] = Share(self._transport, self._most)
        return share
