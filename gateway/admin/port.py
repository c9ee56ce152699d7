"""The admin port of one process, with everything that it answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Final
from wsgiref.types import WSGIApplication

from gateway.admin.http import AdminServer
from gateway.admin.probes import Probes
from gateway.admin.settings import AdminSettings

METRICS: Final = "/metrics"
VERSION: Final = "/version"


@contextlib.asynccontextmanager
async def admin_port(
    settings: AdminSettings, probes: Probes, pages: Mapping[str, WSGIApplication]
) -> AsyncIterator[str]:
    """Its address, with the real port, while it answers; empty where there is none.

    `pages`: what it answers beside the probes, by path. Raises AddressInUse.
    """
    if settings.listen is None:
        yield ""
        return
    routes = {"/livez": probes.livez, "/readyz": probes.readyz, **pages}
    server = AdminServer(settings.listen, routes)
    server.start()
    try:
        yield server.address
    finally:
        await asyncio.to_thread(server.stop)
