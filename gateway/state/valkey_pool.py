"""Connections to a Valkey or Redis that follow its address and its certificates.

They are closed, and the address is looked up anew, when the server is left. After a while they are
closed without that, too, since a server that was replaced may not know it.
"""

import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection, SSLConnection

from gateway.renewal import Renewable, Use

if TYPE_CHECKING:
    import ssl

_AGE_S: Final = 10.0
"""No connection is used for longer."""
_TLS_FILES: Final = ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs")


class FollowingPool(BlockingConnectionPool):
    """Gives no connection made before `leave`, or too long ago, so that all follow the address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - the library's own
        super().__init__(*args, **kwargs)
        self._left_at = 0.0
        self._made_at: weakref.WeakKeyDictionary[AbstractConnection, float] = (
            weakref.WeakKeyDictionary()
        )
        self._tls: ssl.SSLContext | None = None

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
            self._tls = read
            self.leave()

        return use

    def leave(self) -> None:
        """The server behind the connections is not the right one, or cannot serve."""
        self._left_at = time.monotonic()

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        now = time.monotonic()
        if self._made_at.get(connection, 0.0) <= max(self._left_at, now - _AGE_S):
            await connection.disconnect()
            self._made_at[connection] = now
            if self._tls is not None and isinstance(connection, SSLConnection):
                connection.ssl_context.context = self._tls
        await super().ensure_connection(connection)
