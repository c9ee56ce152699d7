"""Response bodies, decoded piece by piece under a cap, so that neither a long body nor a small one that inflates is ever held.

The libraries' own decoders inflate a whole network chunk at once; this one never holds more than the cap.
"""

import zlib
from collections.abc import AsyncIterable
from typing import Final

from gateway.upstream.http import MAX_BODY_BYTES, Lost, TooLarge

ACCEPTED_ENCODING: Final = "gzip"

_GZIP: Final = zlib.MAX_WBITS | 16


async def read_body(pieces: AsyncIterable[bytes], encoding: str, cap: int = MAX_BODY_BYTES) -> bytes:
    """The whole decoded body; `encoding` is the Content-Encoding, empty for none.

    Raises TooLarge over `cap` bytes, Lost for an encoding that was not asked for and for a body that is damaged or cut short.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return await _read_plain(pieces, cap)
    if name != ACCEPTED_ENCODING:
        raise Lost("the answer uses a content encoding that was not asked for")
    try:
        return await _read_gzip(pieces, cap)
    except zlib.error as error:
        raise Lost("the answer's compressed body is damaged") from error


async def _read_plain(pieces: AsyncIterable[bytes], cap: int) -> bytes:
    found: list[bytes] = []
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > cap:
            raise TooLarge("the answer is too large")
        found.append(piece)
    return found[0] if len(found) == 1 else b"".join(found)


async def _read_gzip(pieces: AsyncIterable[bytes], cap: int) -> bytes:
    inflater = zlib.decompressobj(_GZIP)
    found = bytearray()
    compressed = 0
    async for piece in pieces:
        compressed += len(piece)
        # One byte more than is allowed shows that there is more, without inflating it.
        found += inflater.decompress(piece, cap + 1 - len(found))
        if len(found) > cap or compressed > cap:
            raise TooLarge("the answer is too large")
    if compressed and not inflater.eof:
        raise Lost("the answer's compressed body is cut short")
    if inflater.unused_data:
        raise Lost("the answer's compressed body is followed by other data")
    return bytes(found)
