"""Resume tokens of WatchEvents: up to which event of a tenant a stream has come."""

import hashlib
from typing import Final

import msgspec
from cbrgateway.v1 import event_service_pb2

from gateway.clock import Clock
from gateway.seal import Seal
from gateway.state import Queued
from gateway.watch.resume import mismatch

_OWNER_BYTES: Final = 16


class Position(msgspec.Struct, array_like=True, frozen=True):
    """`key`: of the event at the position, so that a store that lost its data is noticed. `made`:
    in seconds since 1970.
    """

    owner: bytes
    position: int
    key: str
    made: int


class Positions:
    """Makes and reads tokens. `key`: secret shared by all replicas."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._seal = Seal(key, "events")
        self._clock = clock

    def read(self, token: str, owner: bytes) -> Position:
        """Raises RESUME_TOKEN_MISMATCH."""
        payload = self._seal.read(token)
        if payload is None:
            raise mismatch(
                "is not a token of this gateway; pass resume_token of the last message on"
                " unchanged, or start a new stream without a token"
            )
        position = msgspec.msgpack.decode(payload, type=Position)
        if position.owner != owner:
            raise mismatch(
                "belongs to another tenant or filter; keep the filter, or start a new stream"
                " without a token"
            )
        return position

    def at(self, owner: bytes, entry: Queued) -> Position:
        return Position(owner, entry.position, entry.key, int(self._clock.time()))

    def token(self, position: Position) -> str:
        return self._seal.write(msgspec.msgpack.encode(position))


def owner_of(tenant: str, wanted: event_service_pb2.EventFilter) -> bytes:
    """What a token belongs to: who watches, and the filter."""
    told = f"{tenant}\0".encode() + wanted.SerializeToString(deterministic=True)
    return hashlib.sha256(told).digest()[:_OWNER_BYTES]
