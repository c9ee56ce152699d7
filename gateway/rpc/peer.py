"""Where a call comes from: the peer of its connection, or who stands behind the proxies that the
operator trusts.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from msgspec import Struct

from gateway.rpc.context import Metadata

FORWARDED: Final = "x-forwarded-for"
_PEER: Final = re.compile(r"ipv[46]:(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:]+)):(?P<port>[0-9]{1,5})")
_MAX_HOPS: Final = 10

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Peer(Struct, frozen=True):
    """`via`: the trusted proxies between, nearest last.

    All empty for a connection without an address.
    """

    ip: str = ""
    port: int = 0
    via: tuple[str, ...] = ()


def peer_of(address: str, metadata: Metadata, trusted: Sequence[Network]) -> Peer:
    """`address` as grpc has it, such as `ipv4:10.0.0.1:4711`.

    What stands in `x-forwarded-for` counts as far as trusted proxies have written it.
    """
    found = _PEER.fullmatch(unquote(address))
    if found is None:
        return Peer()
    direct = Peer(found["six"] or found["four"], int(found["port"]))
    hops = [
        hop.strip()
        for name, value in metadata
        if name == FORWARDED and isinstance(value, str)
        for hop in value.split(",")
    ]
    client, via = direct.ip, []
    for hop in reversed(hops[-_MAX_HOPS:]):
        if not _among(client, trusted) or not _address(hop):
            break
        via.append(client)
        client = hop
    return Peer(client, 0, tuple(reversed(via))) if via else direct


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _among(ip: str, networks: Sequence[Network]) -> bool:
    if not networks or not _address(ip):
        return False
    address = ipaddress.ip_address(ip)
    return any(address.version == network.version and address in network for network in networks)
