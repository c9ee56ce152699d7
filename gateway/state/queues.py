"""Queues of what is to be passed on: in the order in which it was put, until it is removed."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Queued(Struct, frozen=True):
    """`position` grows from one to the next."""

    position: int
    key: str
    value: bytes


class Queues(Protocol):
    """Each has a name, and begins with what is put into it first. A key is in a queue once."""

    async def put(self, queue: str, key: str, value: bytes, most: int) -> list[Queued]:
        """Adds at the end, unless the queue has the key.

        What was taken out at the beginning, since there would be more than `most`.
        """
        ...

    async def read(self, queue: str, after: int, most: int) -> list[Queued]:
        """What stands behind a position, in order; from 0: from the beginning."""
        ...

    async def last(self, queue: str) -> Queued | None:
        """The newest."""
        ...

    async def remove(self, queue: str, keys: Sequence[str]) -> None: ...

    async def length(self, queue: str) -> int: ...
