"""The admin port of one process, with everything that it answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final
from wsgiref.types import WSGIApplication

from gateway.admin.http import AdminServer
from gateway.admin.probes import Check, Probes
from gateway.admin.settings import AdminSettings
from gateway.admin.version import version_page

METRICS: Final = "/metrics"


@contextlib.asynccontextmanager
async def admin_port(
    settings: AdminSettings,
    live: Callable[[], bool],
    checks: Mapping[str, Check],
    configuration: Callable[[], str],
    metrics: WSGIApplication | None,
) -> AsyncIterator[str]:
    """Its address, with the real port, while it answers; empty where there is none.

    `configuration`: the version of the one in use. Raises AddressInUse.
    """
    if settings.listen is None:
        yield ""
        return
    probes = Probes(asyncio.get_running_loop(), live, checks)
    routes: dict[str, WSGIApplication] = {
        "/livez": probes.livez,
        "/readyz": probes.readyz,
        "/version": version_page(configuration),
    }
    if metrics is not None:
        routes[METRICS] = metrics
    server = AdminServer(settings.listen, routes)
    server.start()
    try:
        yield server.address
    finally:
        await asyncio.to_thread(server.stop)
