"""The choice between the two transports."""

import ssl
from typing import Protocol

from gateway.extras import installed
from gateway.upstream.http import FAST, Transport, TransportSettings


class OpenTransport(Transport, Protocol):
    """One that this module has chosen."""

    def trust(self, tls: ssl.SSLContext) -> None:
        """Of the connections that are opened from now on. Open ones go on."""
        ...


def is_fast(settings: TransportSettings) -> bool:
    """Whether they ask for the one of httptools."""
    return settings.transport == "httptools" or (
        settings.transport == "auto" and settings.proxy is None and all(map(installed, FAST))
    )


def open_transport(settings: TransportSettings) -> OpenTransport:
    """The transport that the settings ask for.

    The libraries are imported here, so that only the chosen one is loaded.
    """
    if is_fast(settings):
        from gateway.upstream.http_httptools import (  # noqa: PLC0415 - only when it is needed
            HttptoolsTransport,
        )

        return HttptoolsTransport(settings)
    from gateway.upstream.http_httpx import (  # noqa: PLC0415 - only when it is needed
        HttpxTransport,
    )

    return HttpxTransport(settings)
