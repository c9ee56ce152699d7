"""Calls of gRPC by hand, one at a time: a connection, and what goes over it.

What gRPC's own library does beside that takes longer to load than the call takes.
"""

import math
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, StreamEnded, StreamReset, TrailersReceived

from cbrctl.contexts import Context

if TYPE_CHECKING:
    from ssl import SSLContext

Headers = Sequence[tuple[str, str]]
_CHUNK: Final = 65_536
_HEAD: Final = 5
"""Of a message: a byte that says whether it is compressed, and its length."""


class Connection:
    """To the gateway of a context, by `deadline` (of time.monotonic).

    It and its calls raise TimeoutError at the deadline, and otherwise OSError or, for what is no
    HTTP/2, ValueError or h2's errors.
    """

    def __init__(self, context: Context, deadline: float) -> None:
        host, _, port = context.address.rpartition(":")
        self._scheme = "http" if context.plaintext else "https"
        self._authority = context.address
        host = host.strip("[]")
        tls = None if context.plaintext else _tls(context)
        self._socket = socket.create_connection((host, int(port)), _left(deadline))
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname=host)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._h2 = H2Connection(H2Configuration())
        self._h2.initiate_connection()

    def call(self, path: str, headers: Headers, message: bytes, deadline: float) -> bytes | None:
        """The answer; None where the call has failed, whatever the reason."""
        stream = self._h2.get_next_available_stream_id()
        ours = [
            (":method", "POST"),
            (":scheme", self._scheme),
            (":authority", self._authority),
            (":path", path),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", f"{math.ceil(1000 * _left(deadline))}m"),
        ]
        self._h2.send_headers(stream, [*ours, *headers])
        body = b"\0" + len(message).to_bytes(_HEAD - 1, "big") + message
        self._h2.send_data(stream, body, end_stream=True)
        return self._answer(stream, deadline)

    def close(self) -> None:
        self._socket.close()

    def _answer(self, stream: int, deadline: float) -> bytes | None:
        """Of the one call that is under way."""
        body, well = bytearray(), False
        while True:
            self._socket.settimeout(_left(deadline))
            self._socket.sendall(self._h2.data_to_send())
            data = self._socket.recv(_CHUNK)
            if not data:
                return None
            for event in self._h2.receive_data(data):
                match event:
                    case DataReceived():
                        body += event.data
                        self._h2.acknowledge_received_data(event.flow_controlled_length, stream)
                    case TrailersReceived():
                        well = (b"grpc-status", b"0") in event.headers
                    case StreamEnded():
                        return _message(body) if well else None
                    case StreamReset() | ConnectionTerminated():
                        return None


def _tls(context: Context) -> "SSLContext":
    import ssl

    settings = ssl.create_default_context(cafile=context.ca_file)
    settings.set_alpn_protocols(["h2"])
    if context.certificate_file and context.key_file:
        settings.load_cert_chain(context.certificate_file, context.key_file)
    return settings


def _left(deadline: float) -> float:
    """Seconds."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _message(body: bytearray) -> bytes | None:
    """The one message of a whole answer."""
    if len(body) < _HEAD or body[0] or int.from_bytes(body[1:_HEAD], "big") != len(body) - _HEAD:
        return None
    return bytes(body[_HEAD:])
