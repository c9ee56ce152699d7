"""Words under keys: limits that were set while running, where the audit logs stand, and how far
ends of tasks and missed runs were told.
"""

from collections.abc import Mapping
from typing import Protocol


class KeyValue(Protocol):
    """Each key has its last value, whatever becomes of who put it."""

    async def put(self, key: str, value: bytes) -> None: ...

    async def all(self) -> Mapping[str, bytes]: ...


class SingleKeyValue(KeyValue, Protocol):
    """Of so many keys that each is read by itself."""

    async def get(self, key: str) -> bytes:
        """Empty: nothing was put there."""
        ...


class VersionedKeyValue(KeyValue, Protocol):
    """Shows by a number whether it changed."""

    async def delete(self, key: str) -> None: ...

    async def version(self) -> int:
        """Grows with every change."""
        ...
