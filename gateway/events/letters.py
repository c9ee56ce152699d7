"""Events as they lie in the store: on their way, and given up."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Letter(msgspec.Struct, frozen=True, array_like=True):
    """An event that is to be delivered. `put_at`: in seconds since 1970."""

    type: str
    subject: str
    put_at: float
    body: bytes

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(self)


class DeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """An event that was given up. `why`: what the last attempt said, in our words."""

    letter: Letter
    given_up_at: float
    why: str

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(self)


def queue_of(sink: str) -> str:
    return f"events:{sink}"


def dead_queue_of(sink: str) -> str:
    return f"dead_events:{sink}"


def read(value: bytes, kind: type[T]) -> T | None:
    """None: another version wrote it, and it cannot be understood."""
    try:
        return msgspec.msgpack.decode(value, type=kind)
    except msgspec.DecodeError:
        return None
