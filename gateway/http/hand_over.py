"""From who writes messages to who asks for them, one at a time."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any


class HandOver:
    def __init__(self) -> None:
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(1)

    async def put(self, message: bytes) -> None:
        """Waits until the message before it was sent."""
        await self._room.acquire()
        self._ready.put_nowait(message)

    def ends_with(self, writer: "asyncio.Task[Any]") -> None:
        writer.add_done_callback(lambda _: self._ready.put_nowait(None))

    async def messages(self) -> AsyncIterator[bytes]:
        """All, until the writer has ended, however it did."""
        while (message := await self._ready.get()) is not None:
            yield message
            self._room.release()
