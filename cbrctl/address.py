"""Where a gateway is, as people write it: HOST:PORT, and the mistakes that are made with it."""

import re
from typing import Final

DEFAULT: Final = "127.0.0.1:50051"
_PORT: Final = DEFAULT.rpartition(":")[2]
_MOST: Final = 65_535
_OF_GRPC: Final = re.compile(
    r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds):|[a-z][a-z0-9+.-]*:///", re.ASCII
)
"""How a name begins that gRPC itself resolves."""
_HOST: Final = re.compile(r"[\w.-]+|\[[0-9A-Fa-f:.]+(%[\w.-]+)?\]", re.ASCII)
_FLAGS: Final = {"http": " --plaintext", "https": " --tls"}


def checked(address: str) -> str:
    """The address, if it can be one. Raises ValueError with what to write in its place."""
    if _OF_GRPC.match(address):
        return address
    if wrong := _of_url(address) or _of_parts(*address.rpartition(":")):
        raise ValueError(f"The address {address!r} {wrong}")
    return address


def _of_url(address: str) -> str:
    scheme, separator, rest = address.partition("://")
    if not separator:
        return ""
    place = re.split("[/?#]", rest)[0]
    place = place if re.search(r":[0-9]+$", place) else f"{place}:{_PORT}"
    place = "HOST:PORT" if _of_parts(*place.rpartition(":")) else place
    told = f"--address {place}{_FLAGS.get(scheme.lower(), '')}"
    return f"is a URL, and gRPC's addresses are HOST:PORT. Say {told}"


def _of_parts(host: str, _: str, port: str) -> str:
    if not host and not port.isdigit() and _HOST.fullmatch(port):
        return f"has no port. Say {port}:{_PORT}"
    if host and not host.startswith("[") and ":" in host:
        return f"is IPv6 without brackets. Write it as [::1]:{_PORT}"
    if host.startswith("[") and port.endswith("]"):
        return f"has no port. Say {host}:{port}:{_PORT}"
    if not _HOST.fullmatch(host):
        return f"has no host of letters, digits, '.' and '-'. Write it as HOST:PORT, {DEFAULT}"
    if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _MOST):
        return f"has no port from 1 to {_MOST} behind the colon. Say {host}:{_PORT}"
    return ""
