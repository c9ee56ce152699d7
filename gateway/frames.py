"""Frames between processes of one gateway, on sockets of this machine: a length, then so many
bytes.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, cast

_LENGTH: Final = struct.Struct(">I")


def framed(data: bytes) -> bytes:
    """What `Frames` at the other end hears as one frame."""
    return _LENGTH.pack(len(data)) + data


class Frames(asyncio.Protocol):
    """One end of a connection. `lost`: set once it has ended."""

    def __init__(
        self,
        heard: Callable[["Frames", bytes], None],
        left: Callable[["Frames"], None] = lambda _: None,
    ) -> None:
        """`heard` is called with each frame, `left` at the end."""
        self._heard, self._left = heard, left
        self._in = bytearray()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    async def open(self, connected: socket.socket) -> None:
        """Uses a socket of which the other process has the other end."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connected)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        self.lost.set()
        self._left(self)

    def data_received(self, data: bytes) -> None:
        waiting, start = self._in, 0
        waiting += data
        while len(waiting) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(waiting, start)
            end = start + _LENGTH.size + length
            if len(waiting) < end:
                break
            self._heard(self, bytes(waiting[start + _LENGTH.size : end]))
            start = end
        del waiting[:start]

    def send(self, frame: bytes) -> None:
        """Those of one turn of the event loop go together, and those from before the beginning;
        none once the connection has ended.
        """
        if self.lost.is_set():
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(framed(frame))

    def close(self) -> None:
        """After what was sent."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        if self._transport is not None and self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()
