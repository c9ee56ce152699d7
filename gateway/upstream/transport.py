"""The choice between the two transports."""

from importlib.util import find_spec

from gateway.upstream.http import Transport, TransportSettings


def open_transport(settings: TransportSettings) -> Transport:
    """The transport that the settings ask for. The libraries are imported here, so that only the chosen one is loaded."""
    if settings.transport == "aiohttp" or (settings.transport == "auto" and find_spec("aiohttp") is not None):
        from gateway.upstream.http_aiohttp import AiohttpTransport  # noqa: PLC0415 - optional extra

        return AiohttpTransport(settings)
    from gateway.upstream.http_httpx import HttpxTransport  # noqa: PLC0415 - not needed beside aiohttp

    return HttpxTransport(settings)
