"""Why no connection to a host came about: what callers are told, and what the operator can do."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

_PLAIN: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}
)
"""OpenSSL's words for an answer that is not TLS."""


@dataclass(frozen=True, slots=True)
class Where:
    """What an operator has set: the address, its scheme with TLS, and the authorities. `client`:
    what has to be true of the certificate that is shown.
    """

    address: str
    secure: str
    authorities: str
    client: str = "no client certificate is asked for"


CLOUD: Final = Where("the endpoint", "https://", "upstream.transport.ca_file")


class ConnectFailure(Enum):
    """Each with what is wrong, which anybody may be told, and what to do, which is for the log."""

    NAME = (
        "its name cannot be resolved",
        "check the host in {address} and the name servers of this machine",
    )
    REFUSED = (
        "it refuses connections",
        "check host and port of {address}, and that the service runs",
    )
    NO_SOCKET = (
        "its socket is not there",
        "check the path in {address}, and that the service runs",
    )
    SILENT = (
        "no connection came about in time",
        (
            "check host and port of {address}, routes, firewalls, and that the port speaks what"
            " {address} says: TLS for {secure}"
        ),
    )
    NOT_TLS = (
        "it does not speak TLS on this port",
        (
            "{address} says {secure} but the port answers in plain text: correct the scheme or the"
            " port"
        ),
    )
    CERTIFICATE = (
        "its certificate is not trusted",
        ("check the name in {address}; for an authority of your own set {authorities}"),
    )
    TLS = (
        "the TLS handshake failed",
        ("check that both sides have a TLS version in common and that {client}"),
    )
    OTHER = (
        "no connection could be made",
        "check {address}, the proxy if there is one, and the network of this machine",
    )

    def __init__(self, problem: str, advice: str) -> None:
        self.problem = problem
        self._advice = advice

    def advice(self, where: Where = CLOUD) -> str:
        return self._advice.format(
            address=where.address,
            secure=where.secure,
            authorities=where.authorities,
            client=where.client,
        )


def connect_failure(error: BaseException) -> ConnectFailure:
    """What an exception of an HTTP library, or one behind it, says."""
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return ConnectFailure.CERTIFICATE
            case ssl.SSLError(reason=reason):  # that of aiohttp has none; the one behind it has
                return ConnectFailure.NOT_TLS if reason in _PLAIN else ConnectFailure.TLS
            case socket.gaierror() | UnicodeError():  # the latter for a name that cannot be one
                return ConnectFailure.NAME
            case ConnectionRefusedError():
                return ConnectFailure.REFUSED
            case FileNotFoundError():
                return ConnectFailure.NO_SOCKET
    return ConnectFailure.OTHER


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all behind it, the outermost first."""
    waiting, seen = [error], set()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += current.exceptions if isinstance(current, BaseExceptionGroup) else ()
        waiting += [
            behind for behind in (current.__cause__, current.__context__) if behind is not None
        ]
