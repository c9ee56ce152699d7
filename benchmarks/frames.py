"""gRPC as plain HTTP/2 frames: callers that cost so little that thousands of them fit beside the
gateway that is measured.

No header of an answer is decoded: an answer has a message, or it is a refusal.
"""

import asyncio
import struct
import time
from abc import abstractmethod
from typing import Final, cast

from benchmarks.ways import API_KEY

DATA, HEADERS, RESET = 0, 1, 3
END_STREAM: Final = 1
GRPC_HEAD: Final = 5
"""Bytes before the message in a DATA frame."""
PER_CONNECTION: Final = 100
"""Calls in flight that the gateway allows on a connection by default."""
_SETTINGS, _PING, _WINDOW = 4, 6, 8
_ACK, _END_HEADERS = 1, 4
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_LARGEST_WINDOW: Final = 2**31 - 1
_FIRST_WINDOW: Final = 65535
_FRAME_HEAD: Final = 9


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes((kind, flags))
        + struct.pack(">I", stream)
        + payload
    )


def literal(name: str, value: str) -> bytes:
    """A header that needs no table."""
    return bytes((0, len(name))) + name.encode() + bytes((len(value),)) + value.encode()


class Frames(asyncio.Protocol):
    """One connection to a gateway, for calls of one RPC with one message.

    `deadline`: as gRPC writes it, such as `1S`; empty for none.
    """

    def __init__(
        self, address: str, rpc: str, message: bytes, deadline: str = "", key: str = API_KEY
    ) -> None:
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": f"/cbrgateway.v1.{rpc}",
            ":authority": address,
            "content-type": "application/grpc",
            "te": "trailers",
            "authorization": f"Bearer {key}",
        }
        if deadline:
            headers["grpc-timeout"] = deadline
        self._headers = b"".join(literal(name, value) for name, value in headers.items())
        self._message = struct.pack(">BI", 0, len(message)) + message
        self._rest = b""
        self._next = 1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses.
        self.transport = cast("asyncio.Transport", transport)
        window = struct.pack(">I", _LARGEST_WINDOW - _FIRST_WINDOW)
        # Without a table every header of an answer is there to be read.
        settings = struct.pack(">HIHI", 1, 0, 4, _LARGEST_WINDOW)
        self.transport.write(
            _PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW, 0, 0, window)
        )

    def call(self) -> int:
        """Sends one call and returns the number of its stream."""
        stream, self._next = self._next, self._next + 2
        headers = frame(HEADERS, _END_HEADERS, stream, self._headers)
        self.transport.write(headers + frame(DATA, END_STREAM, stream, self._message))
        return stream

    def data_received(self, data: bytes) -> None:
        now, data, start = time.time(), self._rest + data, 0
        while len(data) - start >= _FRAME_HEAD:
            length = int.from_bytes(data[start : start + 3], "big")
            if len(data) - start < _FRAME_HEAD + length:
                break
            kind, flags, stream = (
                data[start + 3],
                data[start + 4],
                int.from_bytes(data[start + 5 : start + 9], "big"),
            )
            payload = data[start + _FRAME_HEAD : start + _FRAME_HEAD + length]
            start += _FRAME_HEAD + length
            if kind == DATA and payload:
                self.answered(stream, payload, now)
            elif kind == RESET or (kind == HEADERS and flags & END_STREAM):
                self.ended_with(stream, kind, payload, now)
            elif kind in {_SETTINGS, _PING} and not flags & _ACK:
                self.transport.write(frame(kind, _ACK, 0, payload if kind == _PING else b""))
        self._rest = data[start:]

    @abstractmethod
    def answered(self, stream: int, payload: bytes, now: float) -> None:
        """A message came, at that moment in seconds since 1970."""

    def ended_with(self, stream: int, kind: int, payload: bytes, now: float) -> None:
        """As `ended`, by such a frame: a RESET, or the HEADERS of a status."""
        del kind, payload
        self.ended(stream, now)

    @abstractmethod
    def ended(self, stream: int, now: float) -> None:
        """The call is over."""
