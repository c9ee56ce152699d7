"""Queues in a Valkey; see `Queues`."""

from collections.abc import Sequence

from gateway.state.queues import Queued
from gateway.state.valkey_link import ValkeyLink


class ValkeyQueues:
    """Queues: of each its order, and its values."""

    def __init__(self, link: ValkeyLink) -> None:
        self._link = link

    async def put(self, queue: str, key: str, value: bytes, most: int) -> list[Queued]:
        return _rows(await self._link.run("queue_put", queue, key, value, most))

    async def read(self, queue: str, after: int, most: int) -> list[Queued]:
        return _rows(await self._link.run("queue_read", queue, after, most))

    async def last(self, queue: str) -> Queued | None:
        found = _rows(await self._link.run("queue_last", queue))
        return found[0] if found else None

    async def remove(self, queue: str, keys: Sequence[str]) -> None:
        await self._link.run("queue_remove", queue, *keys)

    async def length(self, queue: str) -> int:
        at = self._link.at(f"queue:{queue}")
        return int(await self._link.ask(lambda: self._link.client.zcard(at)))


def _rows(rows: Sequence[tuple[bytes, bytes, bytes]]) -> list[Queued]:
    return [Queued(int(position), key.decode(), value) for position, key, value in rows]
