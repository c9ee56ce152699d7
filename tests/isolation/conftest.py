"""One gateway before one emulator for all tests of the isolation of tenants."""

from collections.abc import AsyncIterator, Mapping

import pytest

from emulator.transitions import Mode, Pace
from tests.harness import World, running_gateway
from tests.isolation.tenants import PARTS, Stock, stock, tenants


@pytest.fixture(scope="session")
async def world() -> AsyncIterator[World]:
    limits = [
        {"metric": metric, "level": "project", "value": 1_000_000}
        for metric in ("vaults", "capacity_gib", "policies")
    ]
    async with running_gateway(
        sections={"tenants": tenants(), "limits": limits}, pace=Pace(Mode.IMMEDIATE)
    ) as running:
        yield running


@pytest.fixture(scope="session")
async def stocks(world: World) -> Mapping[str, Stock]:
    return {tenant: await stock(world, tenant) for tenant in PARTS}
