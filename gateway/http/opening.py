"""From the settings to a listener that can be started."""

from gateway.http.application import Application
from gateway.http.cors import Cors
from gateway.http.listener import HttpListener
from gateway.http.settings import HttpSettings
from gateway.rpc.arrival import Arrivals
from gateway.rpc.dispatch import Routes
from gateway.rpc.settings import ServerSettings


def http_listener(
    settings: HttpSettings,
    server: ServerSettings,
    routes: Routes,
    arrivals: Arrivals,
    room: int,
    *,
    shared: bool = False,
) -> HttpListener:
    """`room`: for so many connections. `shared`: other processes listen on the same port."""
    head_bytes = server.limits.max_metadata_bytes
    application = Application(routes, arrivals, Cors(settings.allowed_origins), head_bytes)
    return HttpListener(settings, server, application, room, shared=shared)
