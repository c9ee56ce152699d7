"""Where a gateway is, and the mistakes that are made in writing it down: `clients/addresses.json`
has them for all languages.
"""

import re
from typing import Final

_MOST: Final = 65_535
_OF_GRPC: Final = re.compile(
    r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):|[a-z][a-z0-9+.-]*:///", re.ASCII
)
"""How a name begins that gRPC itself resolves."""
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(%.*)?", re.ASCII)
_PLACE: Final = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\])(?::(.*))?", re.ASCII)
"""Host, and what stands behind the colon."""


def check(address: str) -> None:
    """Raises ValueError, which says what to write, for what can be no address."""
    if wrong := _mistake(address):
        raise ValueError(f"The address {address!r} {wrong}")


def _mistake(address: str) -> str:
    if _OF_GRPC.match(address):
        return ""
    if not address:
        return "is empty: write host:port"
    if "://" in address:
        place = re.split("[/?#]", address.partition("://")[2])[0]
        return f"is a URL: write {_with_port(place)}, and leave TLS to the options"
    if _IPV6.fullmatch(address):
        return "is IPv6 without brackets: write it as [::1]:50051"
    found = _PLACE.fullmatch(address)
    return (
        _of_parts(found[1], found[2]) if found else "is not host:port: write it as 127.0.0.1:50051"
    )


def _of_parts(host: str, port: str | None) -> str:
    if port is None:
        return f"has no port: write {host}:50051"
    return "" if _is_port(port) else f"has no port from 1 to {_MOST}: write {host}:50051"


def _with_port(place: str) -> str:
    """The place of a URL as an address, as far as it has one."""
    place = place if ":" in place.rpartition("]")[2] else f"{place}:50051"
    return "host:port" if _mistake(place) else place


def _is_port(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", text)) and 1 <= int(text) <= _MOST
