"""An address that leads to one server after the other, as DNS, a virtual IP or a balancer does:
connections that were made stay where they are.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Address:
    """`port` is where it listens; `leads_to` the port of the server that new connections get."""

    def __init__(self, leads_to: int) -> None:
        self.leads_to = leads_to
        self.port = 0
        self._links: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Address"]:
        server = await asyncio.start_server(self._linked, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for link in self._links:
                link.cancel()
            await asyncio.gather(*self._links, return_exceptions=True)

    async def _linked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = asyncio.current_task()
        assert link is not None
        self._links.add(link)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.leads_to)
            try:
                await asyncio.wait(
                    {
                        asyncio.create_task(_copied(reader, far_writer)),
                        asyncio.create_task(_copied(far_reader, writer)),
                    },
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                far_writer.close()
        except OSError:
            pass
        finally:
            writer.close()
            self._links.discard(link)


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
