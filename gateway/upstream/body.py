"""Response bodies, decoded piece by piece under a cap, so that neither a long body nor a small one
that inflates is ever held.

The libraries' own decoders inflate a whole network chunk at once; these never hold more than the
cap.
"""

import zlib
from collections.abc import AsyncIterable
from typing import Final, NoReturn, Protocol

from gateway.upstream.http import MAX_BODY_BYTES, Lost, TooLarge

ACCEPTED_ENCODING: Final = "gzip"
_GZIP_NAMES: Final = frozenset({ACCEPTED_ENCODING, "x-gzip"})
"""RFC 9110: a recipient should consider them equivalent."""

_GZIP: Final = zlib.MAX_WBITS | 16
_MAX_MEMBERS: Final = 64
"""Each one costs a copy of what follows it."""
_STEP_BYTES: Final = 256 * 1024
_ANY_RATIO_BYTES: Final = 1024 * 1024
_MAX_RATIO: Final = 300
"""Of what is longer than that. Lists come to 50 at most; gzip itself can do 1030."""


class Body(Protocol):
    """A body on its way."""

    def add(self, piece: bytes) -> None:
        """Takes the next piece as it was received.

        Raises TooLarge when the decoded body is over the cap, Lost for one that is damaged.
        """
        ...

    def whole(self) -> bytes:
        """The decoded body, once all pieces are there. Raises Lost for one that was cut short."""
        ...


def begin_body(encoding: str, cap: int = MAX_BODY_BYTES) -> Body:
    """An empty body; `encoding` is the Content-Encoding, empty for none.

    Raises Lost for one that was not asked for.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return _Plain(cap)
    if name not in _GZIP_NAMES:
        raise Lost("the answer uses a content encoding that was not asked for")
    return _Gzip(cap)


async def read_body(
    pieces: AsyncIterable[bytes], encoding: str, cap: int = MAX_BODY_BYTES
) -> bytes:
    """The whole decoded body of a library that hands it out in pieces. Raises as Body does."""
    body = begin_body(encoding, cap)
    try:
        async for piece in pieces:
            body.add(piece)
        return body.whole()
    finally:
        # An error that is kept refers to all that is here.
        del body


class _Plain:
    def __init__(self, cap: int) -> None:
        self._left = cap
        self._pieces: list[bytes] = []

    def add(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            # Whoever keeps the error would keep them.
            self._pieces.clear()
            raise TooLarge("the answer is too large")
        self._pieces.append(piece)

    def whole(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


class _Gzip:
    """One member of gzip, or several in a row; zeros may stand behind each."""

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._received = 0
        self._members = 1
        self._found = bytearray()
        self._inflater = zlib.decompressobj(_GZIP)

    def add(self, piece: bytes) -> None:
        self._received += len(piece)
        if self._received > self._cap:
            self._give_up()
        more = False
        while piece or more:
            if self._inflater.eof:
                piece = piece.lstrip(b"\0")
                if not piece:
                    return
                self._inflater = zlib.decompressobj(_GZIP)
                self._members += 1
            try:
                part = self._inflater.decompress(piece, _STEP_BYTES)
            except zlib.error as error:
                raise Lost("the answer's compressed body is damaged") from error
            self._found += part
            # What was read whole may still have something to give.
            more = len(part) == _STEP_BYTES
            piece = self._inflater.unconsumed_tail or self._inflater.unused_data
            self._check(self._received - len(piece))

    def _check(self, read: int) -> None:
        """`read`: how much of what was received."""
        found = len(self._found)
        bomb = found > _ANY_RATIO_BYTES and found > _MAX_RATIO * read
        if bomb or found > self._cap or self._members > _MAX_MEMBERS:
            self._give_up()

    def _give_up(self) -> NoReturn:
        self._found.clear()
        raise TooLarge("the answer is too large")

    def whole(self) -> bytes:
        if self._received and not self._inflater.eof:
            raise Lost("the answer's compressed body is cut short")
        return bytes(self._found)
