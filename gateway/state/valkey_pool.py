"""Connections to a Valkey or Redis that follow its address and its certificates.

They are closed, and the address is looked up anew, or those are asked who know where the primary
is, when the server is left. After a while they are closed without that, too, since a server that
was replaced may not know it.
"""

import asyncio
import time
import weakref
from pathlib import Path
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import ReadOnlyError

from gateway.renewal import Renewable, Use
from gateway.state.valkey_primary import Directory, Server
from gateway.state.valkey_tls import SharedTls

_AGE_S: Final = 10.0
"""No connection is used for longer."""
_TLS_FILES: Final = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")


class FollowingPool(BlockingConnectionPool):
    """Gives no connection made before `leave`, or too long ago, so that all follow the address.

    `directory`: who knows where the primary is; None: the address is its own.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - the library's own
        tls: SharedTls,
        directory: Directory | None = None,
        **kwargs: Any,  # noqa: ANN401 - as above
    ) -> None:
        super().__init__(*args, **kwargs)
        self._tls, self._directory = tls, directory
        self.follows = directory is not None
        self._search: asyncio.Task[Server] | None = None
        self._searched_at = 0.0
        self._left_at = 0.0
        self._made_at: weakref.WeakKeyDictionary[AbstractConnection, float] = (
            weakref.WeakKeyDictionary()
        )

    def certificates(self) -> Renewable | None:
        """The files of certificates that the address names."""
        named = [self.connection_kwargs.get(key) for key in _TLS_FILES]
        files = tuple(Path(file) for file in named if file)
        if not files or not issubclass(self.connection_class, SSLConnection):
            return None
        return Renewable("state.url", files, self._read_certificates)

    def _read_certificates(self) -> Use:
        # Each connection keeps what it has read of its files at first.
        connection = self.connection_class(**self.connection_kwargs)
        assert isinstance(connection, SSLConnection)
        read = connection.ssl_context.get()

        def use() -> None:
            self._tls.context = read
            self.leave()

        return use

    def leave(self) -> None:
        """The server behind the connections is not the right one, or cannot serve."""
        self._left_at = time.monotonic()

    async def aclose(self) -> None:
        if self._search is not None:
            self._search.cancel()
            await asyncio.gather(self._search, return_exceptions=True)
        await super().aclose()

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        now = time.monotonic()
        if self._of_now(self._made_at.get(connection, 0.0), now):
            await super().ensure_connection(connection)
            return
        await connection.disconnect()
        await self._tls.give(connection)
        if self._directory is None:
            await super().ensure_connection(connection)
        else:
            assert isinstance(connection, Connection)
            connection.host, connection.port = await self._primary(self._directory, now)
            await super().ensure_connection(connection)
            await _require_primary(connection)
        self._made_at[connection] = now

    def _of_now(self, since: float, now: float) -> bool:
        return since > max(self._left_at, now - _AGE_S)

    async def confirm(self) -> None:
        """Raises ReadOnlyError if another server is the primary by now."""
        if self._directory is None or self._search is None:
            return
        used = await asyncio.shield(self._search)
        self.leave()
        if await self._primary(self._directory, time.monotonic()) != used:
            raise ReadOnlyError("READONLY")

    async def _primary(self, directory: Directory, now: float) -> Server:
        """One search for all who need it, which outlives any of them."""
        search = self._search
        if search is None or (
            search.done()
            and (
                search.cancelled()
                or search.exception() is not None
                or not self._of_now(self._searched_at, now)
            )
        ):
            self._searched_at = now
            self._search = search = asyncio.create_task(directory.primary())
            # Who has gone reads no exception.
            search.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        return await asyncio.shield(search)


async def _require_primary(connection: Connection) -> None:
    """Those who were asked may know less than the server itself."""
    await connection.send_command("ROLE")
    role = await connection.read_response()
    if role[0] != b"master":
        raise ReadOnlyError("READONLY")
