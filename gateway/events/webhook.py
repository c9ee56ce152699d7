"""Posts one event to a sink, and says in our words what became of it."""

import asyncio
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import httpcore

from gateway.clock import Clock
from gateway.events.addresses import AddressRefusedError, Network
from gateway.events.checked_backend import CheckedBackend
from gateway.events.settings import SinkSettings
from gateway.events.signature import key_of, signed
from gateway.events.types import CONTENT_TYPE
from gateway.renewal import Renewable, Use
from gateway.upstream.http import tls_context

_MOST_BYTES: Final = 64 * 1024
"""Of an answer so much is read, in order to use the connection again, and nothing kept."""


class Webhook:
    """One sink. It follows no redirect, keeps no cookies and reads no environment."""

    def __init__(self, sink: SinkSettings, allowed: Sequence[Network], clock: Clock) -> None:
        self._sink, self._allowed, self._clock = sink, allowed, clock
        self._keys = [key_of(key.reveal()) for key in sink.keys]
        self._context = tls_context(sink.ca_file)
        self._pool: httpcore.AsyncConnectionPool | None = None
        self._stale = False

    def certificates(self) -> Renewable | None:
        """The file of authorities that its receiver is known by."""
        sink = self._sink
        if (file := sink.ca_file) is None:
            return None

        def read() -> Use:
            context = tls_context(file)
            return lambda: self._trust(context)

        return Renewable(f"events.sinks.{sink.name}.ca_file", (file,), read)

    def _trust(self, context: ssl.SSLContext) -> None:
        self._context, self._stale = context, True

    async def post(self, event_id: str, body: bytes) -> str:
        """Why it was not delivered; empty: it was."""
        try:
            async with asyncio.timeout(self._sink.timeout_s):
                status = await self._status(event_id, body)
        except TimeoutError:
            why = f"no answer within {self._sink.timeout_s:g} s"
        except (OSError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            why = _why(error)
        else:
            success = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
            return "" if success else f"it answered with status {status}"
        # A request that was cut short may have left its place in the pool taken.
        await self.aclose()
        return why

    async def _status(self, event_id: str, body: bytes) -> int:
        if self._stale:
            await self.aclose()
            self._stale = False
        if self._pool is None:
            backend = CheckedBackend(self._allowed)
            self._pool = httpcore.AsyncConnectionPool(
                self._context, max_connections=1, network_backend=backend
            )
        headers = signed(event_id, body, self._keys, self._clock.time())
        headers |= {
            "content-type": CONTENT_TYPE,
            "content-length": str(len(body)),
            "user-agent": "cbr-gateway",
            "host": _host(self._sink.url),
        }
        async with self._pool.stream(
            "POST", self._sink.url, headers=list(headers.items()), content=body
        ) as answer:
            size = 0
            async for chunk in answer.aiter_stream():
                size += len(chunk)
                if size > _MOST_BYTES:
                    break
            return int(answer.status)

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()


def _why(error: Exception) -> str:
    """In our words: what the other side says is never told."""
    if isinstance(error, AddressRefusedError):
        return "its address is not public, and not in events.allowed_networks"
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return "its certificate is not trusted, or it speaks no TLS"
    if isinstance(error, OSError | httpcore.ConnectError):
        return "no connection"
    return "the connection ended without an answer that could be read"


def _host(url: str) -> str:
    return url.split("/", 3)[2].partition("?")[0]
