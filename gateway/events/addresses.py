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
        for each in _led_to(address)
    )


def _led_to(address: Address) -> Iterator[Address]:
    """The address, and those that one of IPv6 stands for; of one of IPv4 in the notation of IPv6
    that alone: whether Python takes the notation for public depends on its version.
    """
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    for found in (address.sixtofour, *(address.teredo or ())):
        if found is not None:
            yield found
