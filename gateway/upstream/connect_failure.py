"""Why no connection to a host came about: what callers are told, and what the operator can do."""

import socket
import ssl
from collections.abc import Iterator
from enum import Enum
from typing import Final

_PLAIN: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}
)
"""OpenSSL's words for an answer that is not TLS."""


class ConnectFailure(Enum):
    """Each with what is wrong, which anybody may be told, and what to do, which is for the log."""

    NAME = (
        "its name cannot be resolved",
        "check the host in the endpoint and the name servers of this machine",
    )
    REFUSED = (
        "it refuses connections",
        "check host and port of the endpoint, and that the service runs",
    )
    SILENT = (
        "no connection came about in time",
        (
            "check host and port of the endpoint, routes, firewalls, and that the port speaks what"
            " the endpoint says: TLS for https://"
        ),
    )
    NOT_TLS = (
        "it does not speak TLS on this port",
        (
            "the endpoint says https:// but the port answers in plain text: correct the scheme or"
            " the port"
        ),
    )
    CERTIFICATE = (
        "its certificate is not trusted",
        (
            "check the name in the endpoint; for an authority of your own set"
            " upstream.transport.ca_file"
        ),
    )
    TLS = (
        "the TLS handshake failed",
        (
            "check that both sides have a TLS version in common and that no client certificate is"
            " asked for"
        ),
    )
    OTHER = (
        "no connection could be made",
        "check the endpoint, the proxy if there is one, and the network of this machine",
    )

    def __init__(self, problem: str, advice: str) -> None:
        self.problem = problem
        self.advice = advice


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
