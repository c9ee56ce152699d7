"""Where a gateway is, as people write it: HOST:PORT, and the mistakes that are made with it."""

import re
from typing import Final

DEFAULT: Final = "127.0.0.1:50051"
_PORT: Final = DEFAULT.rpartition(":")[2]
_MOST: Final = 65_535
_OF_GRPC: Final = ("dns:", "ipv4:", "ipv6:", "unix:", "unix-abstract:", "vsock:", "xds:")
"""How gRPC's own ways to name a place begin."""
_HOST: Final = r"[\w.-]+|\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]"
_FLAGS: Final = {"http": " --plaintext", "https": " --tls"}


def checked(address: str) -> str:
    """The address, if it can be one. Raises ValueError with what to write in its place."""
    if address.startswith(_OF_GRPC):
        return address
    if wrong := _of_url(address) or _of_parts(*address.rpartition(":")):
        raise ValueError(f"The address {address!r} {wrong}")
    return address


def _of_url(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if not separator:
        return ""
    place = rest.partition("/")[0] or "HOST"
    place = place if re.search(r":[0-9]+$", place) else f"{place}:{_PORT}"
    told = f"--address {place}{_FLAGS.get(scheme.lower(), '')}"
    return f"is a URL, and gRPC's addresses are HOST:PORT. Say {told}"


def _of_parts(host: str, _: str, port: str) -> str:
    if not host and port and not port.isdigit():
        return f"has no port. Say {port}:{_PORT}"
    if host and not host.startswith("[") and ":" in host:
        return f"is IPv6 without brackets. Write it as [::1]:{_PORT}"
    if host.startswith("[") and port.endswith("]"):
        return f"has no port. Say {host}:{port}:{_PORT}"
    if not re.fullmatch(_HOST, host):
        return f"has no host of letters, digits, '.' and '-'. Write it as HOST:PORT, {DEFAULT}"
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _MOST):
        return f"has no port from 1 to {_MOST} behind the colon. Say {host}:{_PORT}"
    return ""
