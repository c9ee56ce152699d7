"""Why a gateway cannot be reached: a look at what really is at the address.

gRPC tells the last of several failures, and in the words of its TLS library; who called `localhost`
is told of IPv6 where IPv4 was the trouble. So look again, by hand.
"""

import socket
import ssl
from typing import Final

from cbrctl.contexts import Context

_TIMEOUT_S: Final = 3.0
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
"""How a connection of HTTP/2 begins, with empty settings."""
_TYPE: Final = 3
"""Where a frame says what it is."""
_SETTINGS: Final = 4


def diagnosed(context: Context) -> str:
    """What is wrong, and what to do."""
    host, _, port = context.address.rpartition(":")
    if not port.isdigit() or not host:
        return f"{context.address} cannot be reached: check --address."
    try:
        return _of_plaintext(context) if context.plaintext else _of_tls(context)
    except socket.gaierror:
        return f"The name {host} is not known here: check --address."
    except ConnectionRefusedError:
        return (
            f"Nobody listens at {context.address}: check --address, and that the gateway runs"
            " (`make run` prints its address)."
        )
    except OSError as error:
        return f"{context.address} cannot be reached ({error.strerror or error}): check --address."


def _connection(context: Context) -> socket.socket:
    host, _, port = context.address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT_S)


def _first_bytes(context: Context) -> bytes:
    """What is answered to the first bytes of HTTP/2 in plain text."""
    with _connection(context) as connection:
        try:
            connection.sendall(_PREFACE)
            return connection.recv(9)
        except OSError:
            return b""


def _of_plaintext(context: Context) -> str:
    answer = _first_bytes(context)
    if answer.startswith((b"HTTP/1", b"<")):
        return _other_protocol(context)
    if len(answer) > _TYPE and answer[_TYPE] == _SETTINGS:
        return "The gateway is there now: call again."
    return f"{context.address} does not speak plain text: for a gateway with TLS, add --tls."


def _of_tls(context: Context) -> str:
    settings = ssl.create_default_context(cafile=context.ca_file)
    settings.set_alpn_protocols(["h2"])
    try:
        if context.certificate_file and context.key_file:
            settings.load_cert_chain(context.certificate_file, context.key_file)
        host = context.address.rpartition(":")[0].strip("[]")
        with settings.wrap_socket(_connection(context), server_hostname=host) as encrypted:
            if encrypted.selected_alpn_protocol() != "h2":
                return _other_protocol(context)
            return (
                "The gateway's certificate is good. Where it wants one of the caller, name it with"
                " --certificate-file and --key-file."
            )
    except ssl.SSLCertVerificationError as error:
        return (
            f"The certificate of {context.address} is not trusted: {error.verify_message}. Name the"
            " authorities with --ca-file, and the gateway by a name that its certificate has."
        )
    except ssl.SSLError:
        if _first_bytes(context).startswith(b"HTTP/1"):
            return _other_protocol(context)
        return (
            f"{context.address} does not speak TLS: for a gateway that takes plain text, add"
            " --plaintext."
        )


def _other_protocol(context: Context) -> str:
    return (
        f"{context.address} speaks another protocol, such as the admin port (50053) or the emulated"
        " cloud: the services are at 50051 unless the gateway is told otherwise."
    )
