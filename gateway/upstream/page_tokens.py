"""Page tokens: where the next page of a list starts.

Signed, so that a caller cannot make one up, and bound to the tenant, project, RPC and filter;
nothing is kept here.
"""

import hashlib
from typing import Final

import msgspec
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.errors import GatewayError, Violation
from gateway.seal import Seal
from gateway.upstream.declaration import Binding
from gateway.upstream.place import Place
from gateway.upstream.trail import Trail
from gateway.upstream.windows import Longest

TOKEN_LIFE_S: Final = 72 * 3600
_SKEW_S: Final = 300
"""How far the clock of the replica that made a token may be ahead of ours."""
_OWNER_BYTES: Final = 16
_MAX_TOKEN_CHARS: Final = 2048
_FREE: Final = frozenset({"page_size", "page_token", "read_mask"})
"""Fields of a request that do not say where its pages begin."""


class Position(msgspec.Struct, array_like=True, frozen=True):
    """A place in a list (place.Place, trail.Trail), when the token was made, and its owner."""

    way: int = 0
    cursor: int | str = 0
    shown: int = 0
    marks: bytes = b""
    made: int = 0
    binding: bytes = b""
    longest: int = 0
    limit: int = 0
    total: int | None = None
    repeated: int = 0
    steady: int | None = None
    names: int = 0

    @property
    def place(self) -> Place:
        return Place(
            Trail(self.shown, self.marks, self.repeated, self.steady, self.names),
            self.way,
            self.cursor,
            Longest(self.longest, self.limit, self.total),
        )


class PageTokens:
    """Makes and reads tokens. `key`: secret shared by all replicas."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._seal = Seal(key, "place in a list")
        self._clock = clock

    def read(self, token: str, owner: bytes) -> Position:
        """The position of a token; the start for an empty one. Raises PAGE_TOKEN_MISMATCH."""
        if not token:
            return Position()
        payload = self._seal.read(token[:_MAX_TOKEN_CHARS])
        position = _position(payload) if payload is not None else None
        if position is None:
            raise _mismatch("is not a token of this gateway; pass next_page_token on unchanged")
        if position.binding != owner:
            raise _mismatch(
                "belongs to another list, tenant or filter; start again without a token"
            )
        if not -_SKEW_S <= self._clock.time() - position.made <= TOKEN_LIFE_S:
            raise _mismatch("has expired after 72 hours; start again without a token")
        return position

    def make(self, place: Place, owner: bytes) -> str:
        trail = place.trail
        now, longest = int(self._clock.time()), place.longest
        position = Position(
            place.way,
            place.cursor,
            trail.shown,
            trail.marks,
            now,
            owner,
            longest.rows,
            longest.limit,
            longest.total,
            trail.repeated,
            trail.total,
            trail.names,
        )
        return self._seal.write(msgspec.msgpack.encode(position))


def _position(payload: bytes) -> Position | None:
    """None for what an older gateway with the same key has signed."""
    try:
        return msgspec.msgpack.decode(payload, type=Position)
    except msgspec.MsgspecError:
        return None


def _mismatch(text: str) -> GatewayError:
    violation = Violation("page_token", text, "page_token")
    return GatewayError(
        errors_pb2.ERROR_REASON_PAGE_TOKEN_MISMATCH, f"page_token: {text}", violations=(violation,)
    )


def owner_of(binding: Binding, request: Message, scope: str) -> bytes:
    """What a token is bound to: the RPC, who calls, and the request without its paging fields.

    The page size may change between pages, and so may the mask: it chooses no rows.
    """
    bare = binding.request_type()
    bare.CopyFrom(request)
    for name in _FREE.intersection(bare.DESCRIPTOR.fields_by_name):
        bare.ClearField(name)
    material = f"{binding.rpc}\0{scope}\0".encode() + bare.SerializeToString(deterministic=True)
    return hashlib.sha256(material).digest()[:_OWNER_BYTES]
