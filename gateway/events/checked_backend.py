"""The network of webhooks: a name is resolved here, its addresses are checked, and the connection
goes to one that was checked. Nobody can put another one in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence

import httpcore

from gateway.events.addresses import Address, AddressRefusedError, Network, refused


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """The network, without the addresses that are refused."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = tuple(allowed)
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises AddressRefusedError, OSError and httpcore's errors."""
        error: Exception = AddressRefusedError()
        for address in await self._addresses(host, port):
            try:
                return await self._inner.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError as failure:
                error = failure
        raise error

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[Address]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(
            ipaddress.ip_address(str(where[0]).partition("%")[0]) for *_, where in found
        )
        return [each for each in addresses if not refused(each, self._allowed)]
