"""The TLS of all connections to a Valkey and to those who know where it is."""

import asyncio
from typing import TYPE_CHECKING

from redis.asyncio.connection import AbstractConnection, SSLConnection

from gateway.background import in_background

if TYPE_CHECKING:
    import ssl


class SharedTls:
    """One per store. The client library would read the files, and all authorities of the system,
    anew for each connection, on the event loop, where calls would wait meanwhile.
    """

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self._reading: asyncio.Task[ssl.SSLContext] | None = None

    async def give(self, connection: AbstractConnection) -> None:
        """Before it connects. Raises OSError for files that cannot be used."""
        if not isinstance(connection, SSLConnection):
            return
        if self.context is None:
            # Outlives who asks first, and may have little time.
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(in_background(connection.ssl_context.get))
            read = await asyncio.shield(self._reading)
            # They may have been renewed meanwhile.
            self.context = self.context or read
        connection.ssl_context.context = self.context
