"""Envelopes of Connect and gRPC-Web, typed from their specifications."""

import struct
from collections.abc import Iterator


def envelope(data: bytes, flags: int = 0) -> bytes:
    return struct.pack(">BI", flags, len(data)) + data


def envelopes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Flags and data of each."""
    while content:
        flags, length = struct.unpack(">BI", content[:5])
        assert len(content) >= 5 + length, "the last one is cut"
        yield flags, content[5 : 5 + length]
        content = content[5 + length :]


def trailers(data: bytes) -> dict[str, str]:
    """Of gRPC-Web's last frame."""
    lines = data.decode().split("\r\n")
    return {
        name: value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
