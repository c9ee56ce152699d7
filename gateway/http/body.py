"""What arrives of a request: so many bytes at most, and for as long as its call waits for it."""

import asyncio
from typing import TYPE_CHECKING

from gateway.http.asgi import REQUEST, Message, Receive
from gateway.rpc.arrival import too_large

if TYPE_CHECKING:
    from gateway.errors import GatewayError


class Body:
    """Of one request. What is wrong with it ends the body, not the reading, and is found in
    `problem`: so it is the call that tells it.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most = receive, most
        self._bytes = 0
        self._over = False
        self._reading: asyncio.Timeout | None = None
        self.problem: GatewayError | None = None

    async def receive(self) -> Message:
        if self._over:
            return await self._receive()
        try:
            async with asyncio.timeout(None) as self._reading:
                message = await self._receive()
        except TimeoutError:
            return self._ended()
        finally:
            self._reading = None
        if message["type"] != REQUEST:
            return message
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._most:
            self.problem = too_large(self._most)
            return self._ended()
        self._over = not message.get("more_body", False)
        return message

    async def whole(self) -> bytes:
        """All of it; what there is, if its caller leaves."""
        parts = []
        while not self._over:
            message = await self.receive()
            if message["type"] != REQUEST:
                break
            parts.append(message.get("body", b""))
        return b"".join(parts)

    def cut(self) -> None:
        """Nobody waits for the rest."""
        if self._reading is not None:
            self._reading.reschedule(asyncio.get_running_loop().time())

    def _ended(self) -> Message:
        self._over = True
        return {"type": REQUEST, "body": b"", "more_body": False}
