"""Words under keys: limits that were set while running, and where the audit logs stand."""

from collections.abc import Mapping
from typing import Protocol


class KeyValue(Protocol):
    """Each key has its last value, whatever becomes of who put it."""

    async def put(self, key: str, value: bytes) -> None: ...

    async def all(self) -> Mapping[str, bytes]: ...


class VersionedKeyValue(KeyValue, Protocol):
    """Shows by a number whether it changed."""

    async def delete(self, key: str) -> None: ...

    async def version(self) -> int:
        """Grows with every change."""
        ...
