"""`check --online`: whether each credential and project of a configuration works, told by reads
alone.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from cbrgateway.v1 import errors_pb2, policy_pb2, task_pb2, vault_pb2
from google.protobuf.message import Message

from gateway.clock import SystemClock
from gateway.config import Config
from gateway.errors import GatewayError
from gateway.snapshots import Snapshots, key_files
from gateway.upstream.breakers import Breakers
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.upstream.http import Transport
from gateway.upstream.paging import PageTokens
from gateway.upstream.reader import UpstreamReader, unlisted
from gateway.upstream.shares import Shares
from gateway.upstream.transport import open_transport

_LISTS: Final = {
    "vaults": vault_pb2.ListVaultsRequest(page_size=1),
    "policies": policy_pb2.ListPoliciesRequest(page_size=1),
    "tasks": task_pb2.ListTasksRequest(page_size=1),
}
"""What the gateway itself lists: to count, to find lost changes, and for those who watch."""
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Place:
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


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not work, and what to do. `what`: the list that failed."""

    place: Place
    what: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: cannot list {self.what}. {self.message}"


def places(config: Config) -> list[Place]:
    return [
        Place(project.credential, project.region, tenant.id, project.key)
        for tenant in config.tenants
        for project in tenant.projects
    ]


async def look(config: Config, catalog: Catalog, within_s: float) -> list[Problem]:
    """One row of each list of each project, many at once; whatever has not answered within the time
    is a problem, too.
    """
    async with reading(config, catalog) as reader:
        turns = asyncio.Semaphore(_AT_ONCE)
        tasks = {
            place: asyncio.create_task(_look(reader, place, turns)) for place in places(config)
        }
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=within_s)
            late = (
                f"No answer within {within_s:g} s. Check the endpoint and the way to it, or give it"
                " more time: --timeout."
            )
            return [
                problem
                for place, task in tasks.items()
                for problem in (
                    task.result() if task.done() else [Problem(place, "anything", late)]
                )
            ]
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


async def _look(reader: UpstreamReader, place: Place, turns: asyncio.Semaphore) -> list[Problem]:
    problems = []
    async with turns:
        for what, one in _LISTS.items():
            try:
                await reader.answer(one, Message, place.project)
            except GatewayError as error:
                problems.append(Problem(place, what, unlisted(error)))
                if error.reason != errors_pb2.ERROR_REASON_UPSTREAM_PERMISSION:
                    # The next list would say the same.
                    break
    return problems


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
