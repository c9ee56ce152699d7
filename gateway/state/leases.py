"""Leases: places under a limit of concurrency, and processes that are there."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from gateway.state.counters import Refused, Shortage


class Slot(Struct, frozen=True):
    """One of `limit` places under `key`."""

    key: str
    limit: int
    shadow: bool = False


class Leased(Struct, frozen=True):
    """The holder has all the places until their ttl ends or `free`."""

    would_refuse: tuple[Shortage, ...] = ()


class Leases(Protocol):
    """Places fall back on a local share rather than raise StoreDown; `beat` and `held` raise it."""

    async def lease(self, holder: str, slots: Sequence[Slot], ttl_s: float) -> Leased | Refused:
        """A place under every key or none. A holder that has a place keeps it, with the new ttl."""
        ...

    async def renew(self, holder: str, keys: Sequence[str], ttl_s: float) -> bool:
        """Prolongs the leases that are still held. False: at least one had expired."""
        ...

    async def free(self, holder: str, keys: Sequence[str]) -> None:
        """Gives the places back."""
        ...

    async def held(self, keys: Sequence[str]) -> Mapping[str, int]:
        """How many hold a place under each key now. Raises StoreDown."""
        ...

    async def beat(self, process: str, ttl_s: float) -> tuple[bool, frozenset[str]]:
        """Says that a process is there for `ttl_s` more.

        Whether the store knew that without a break, and all processes that are there.
        """
        ...

    async def left(self, process: str) -> None:
        """Says that a process has ended and that nothing is on its way that it has sent."""
        ...
