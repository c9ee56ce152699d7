"""Reads what a store keeps in parts, as far as somebody goes on reading."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from gateway.state.operation import OperationView

_READ_AT_ONCE: Final = 500
"""Operations, where the first ones were not enough."""


async def in_parts(
    read: Callable[[str, int], Awaitable[list[OperationView]]], position: str, most: int
) -> AsyncIterator[OperationView]:
    """All that is beyond a position, as `read` orders it; `most` are read at first.

    Raises StoreDown.
    """
    while True:
        some = await read(position, most)
        for op in some:
            yield op
        if len(some) < most:
            return
        position, most = some[-1].position, max(most, _READ_AT_ONCE)
