"""An operation as the store knows it: the values that it takes and gives."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, TypeAlias

from msgspec import Struct

from gateway.state.counters import Charge, Refused, Shortage

MAX_RESPONSE_BYTES: Final = 16 * 1024


class State(StrEnum):
    """Where an operation is. The first three are open: their charges count as reserved."""

    RESERVED = "RESERVED"
    SENT = "SENT"
    UNKNOWN = "UNKNOWN"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    ABSENT = "ABSENT"


OPEN = frozenset({State.RESERVED, State.SENT, State.UNKNOWN})


class Operation(Struct, frozen=True):
    """One mutation.

    `ttl_s`: life of the reservation unless `sent` follows; `detail`: opaque bytes for recovery;
    `request_id`: empty for none.

    `topic`: a word under which `on_topic` lists it; empty: it is listed by its state only.
    """

    id: str
    tenant: str
    rpc: str
    request_id: str
    fingerprint: bytes
    charges: tuple[Charge, ...]
    ttl_s: float
    detail: bytes = b""
    topic: str = ""

    def __post_init__(self) -> None:
        if len({charge.key for charge in self.charges}) < len(self.charges):
            raise ValueError("two charges of one operation have the same key")


class Admitted(Struct, frozen=True):
    """The charges are reserved.

    `would_refuse`: shadow limits that were exceeded; a repeated `begin` does not report them again.
    """

    would_refuse: tuple[Shortage, ...] = ()


class Replay(Struct, frozen=True):
    """The same request was carried out before.

    `response` is None when it was not kept (none given, or above 16 KiB).
    """

    response: bytes | None


class InProgress(Struct, frozen=True):
    """The same request is on its way, or its outcome is not known yet."""

    op_id: str


class Mismatch(Struct, frozen=True):
    """The request_id was used for another request."""


Begun: TypeAlias = Admitted | Replay | InProgress | Mismatch | Refused


class OperationView(Struct, frozen=True):
    """What is stored of an operation: (key, amount) of its charges; `created_at` in seconds since
    1970; `note`: empty until there is one.
    """

    id: str
    tenant: str
    rpc: str
    request_id: str
    state: State
    charges: tuple[tuple[str, int], ...]
    detail: bytes
    resource_id: str
    created_at: float
    note: bytes

    @property
    def position(self) -> str:
        """Its place among others by when it began."""
        return f"{self.created_at!r} {self.id}"


def place_of(position: str, otherwise: float) -> tuple[float, str]:
    """The moment and id of a position; for an empty one that moment."""
    moment, _, op_id = position.partition(" ")
    return float(moment or otherwise), op_id


class Changes(Struct, frozen=True):
    """Operations that began or changed, in that order. `position`: what to ask from next."""

    operations: Sequence[OperationView]
    position: str
