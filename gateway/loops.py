"""The event loops of a gateway: they look names up in threads that nothing else waits for.

Left to themselves they share a few threads for all parts of a process, and wait for those at its
end. One name server that does not answer, be it that of a webhook, would then hold up the
connections to every other place, and the end.
"""

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

from gateway.background import in_background

_SECURED: Final = frozenset(
    {"ssl", "server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"}
)
"""What is asked of a connection beside its address."""


class _LooksUp:
    """Stands before the class of a loop."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[tuple[Any, ...], asyncio.Task[list[Any]]] = {}

    async def getaddrinfo(
        self,
        host: Any,  # noqa: ANN401 - as the library
        port: Any,  # noqa: ANN401 - as the library
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - as the library
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """One question, in one thread, for all who ask the same meanwhile."""
        question = (host, port, family, type, proto, flags)
        if _is_address(host):
            own: list[Any] = await super().getaddrinfo(  # type: ignore[misc]  # of the loop
                host, port, family=family, type=type, proto=proto, flags=flags
            )
            return own
        asked = self._lookups.get(question)
        if asked is None:
            asked = asyncio.create_task(in_background(lambda: socket.getaddrinfo(*question)))
            self._lookups[question] = asked
            asked.add_done_callback(lambda ended: self._looked_up(question, ended))
        return await asyncio.shield(asked)

    def _looked_up(self, question: tuple[Any, ...], ended: asyncio.Task[list[Any]]) -> None:
        del self._lookups[question]
        # Who has gone reads no exception.
        if not ended.cancelled():
            ended.exception()


def _is_address(host: object) -> bool:
    """Whether there is nothing to look up."""
    try:
        ip_address(host.decode() if isinstance(host, bytes) else str(host).partition("%")[0])
    except ValueError:
        return False
    return True


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The loop of uvloop where the extra `fast` is installed, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - an extra
    except ImportError:

        class Loop(_LooksUp, asyncio.SelectorEventLoop):
            """Asks `getaddrinfo` for every name."""

        return Loop

    class FastLoop(_LooksUp, uvloop.Loop):  # type: ignore[misc]  # the library's stubs
        """Would ask for names by itself, in its library's threads."""

        async def create_connection(
            self,
            protocol_factory: Callable[[], asyncio.BaseProtocol],
            host: Any = None,  # noqa: ANN401 - as the library
            port: Any = None,  # noqa: ANN401 - as the library
            **more: Any,  # noqa: ANN401 - as the library
        ) -> Any:  # noqa: ANN401 - as the library
            connect = super().create_connection
            if host is None or _is_address(host) or more.keys() - _SECURED:
                return await connect(protocol_factory, host, port, **more)
            if more.get("ssl"):
                more.setdefault("server_hostname", host)
            failed: OSError | None = None
            for *_, address in await self.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                try:
                    return await connect(protocol_factory, *address[:2], **more)
                except OSError as error:
                    failed = error
            raise failed or OSError(f"getaddrinfo({host!r}) returned empty list")

    return FastLoop
