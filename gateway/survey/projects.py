"""The projects that a configuration names, and reads of them."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct

from gateway.clock import SystemClock
from gateway.config import Config
from gateway.snapshots import Snapshots, key_files
from gateway.upstream.breakers import Breakers
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.upstream.http import Transport
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.shares import Shares
from gateway.upstream.transport import open_transport


class ProjectEntry(Struct, frozen=True):
    """A project as the configuration names it."""

    credential: str
    region: str
    tenant: str
    project: str

    def __str__(self) -> str:
        return (
            f"credential {self.credential}, region {self.region}, project {self.project} of tenant"
            f" {self.tenant}"
        )


def entries(config: Config) -> list[ProjectEntry]:
    return [
        ProjectEntry(project.credential, project.region, tenant.id, project.key)
        for tenant in config.tenants
        for project in tenant.projects
    ]


@asynccontextmanager
async def reading(
    config: Config,
    catalog: Catalog,
    around: Callable[[Transport], Transport] = lambda transport: transport,
) -> AsyncIterator[UpstreamReader]:
    """Reads by what is configured. `around`: what lies between the client and the transport."""
    clock = SystemClock()
    transport = around(open_transport(config.upstream.transport))
    breakers = Breakers(clock, random.random)
    shares = Shares(transport, config.upstream.transport.max_connections)
    snapshots = Snapshots(transport, shares, breakers, clock)
    try:
        accounts = snapshots.build(config, key_files(config)).accounts
        yield UpstreamReader(
            catalog, Client(catalog, shares, breakers, PageTokens(b"", clock), clock), accounts.get
        )
    finally:
        await snapshots.aclose()
        await transport.aclose()
