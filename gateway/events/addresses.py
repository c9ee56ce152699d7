"""Where a webhook may go: to public addresses, and to those that the configuration allows.

A name is resolved here, its addresses are checked, and the connection goes to one that was checked:
nobody can put another one in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefusedError(OSError):
    """A name has no address that may be connected to."""


def refused(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is neither public nor allowed, by itself or by what it leads to."""
    return any(
        not (each.is_global and not each.is_multicast)
        and not any(each in network for network in allowed)
        for each in (address, *_inside(address))
    )


def _inside(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    for found in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if found is not None:
            yield found


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
