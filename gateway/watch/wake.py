"""What wakes one stream."""

import asyncio


class Wake:
    """An `asyncio.Event` for one who waits. There are thousands of streams, and an Event keeps room
    for many who wait: more than half a KiB.
    """

    __slots__ = ("_is_set", "_waiting")

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: asyncio.Future[None] | None = None

    def set(self) -> None:
        self._is_set = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def clear(self) -> None:
        self._is_set = False

    async def wait(self) -> None:
        """Until it is set. Only one may wait."""
        if self._is_set:
            return
        assert self._waiting is None
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None
