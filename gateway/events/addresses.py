"""Where a webhook may go: to public addresses, and to those that the configuration allows."""

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Final

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
