"""A tenant that asks for far more than it may costs the others nothing, and CBR even less."""

import asyncio
import time
from collections import Counter

import pytest
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from tests.harness import TENANTS
from tests.quota.scenes import gateway, often, outcome, rate

PER_SECOND, BURST = 10, 10
NOISE, QUIET = 20 * PER_SECOND, 5
"""Calls a second of the noisy tenant and of each other one; a read costs one unit."""
MISSING = vault_pb2.GetVaultRequest(vault_id="6d0f3a52-91c7-4be8-a3f4-0c2b7e95d148")


async def paced(world, tenant, per_second, seconds):
    """Reasons of the calls that were made so often, whatever became of those before."""
    get = world.stub(VaultServiceStub).GetVault
    began, calls = time.monotonic(), []
    for number in range(round(per_second * seconds)):
        await asyncio.sleep(max(0, began + number / per_second - time.monotonic()))
        calls.append(asyncio.create_task(outcome(world, get, MISSING, tenant, within_s=30)))
    return Counter(ended.reason for ended in await asyncio.gather(*calls))


@pytest.mark.timeout(300)
async def test_a_noisy_tenant_costs_the_others_nothing():
    seconds = often(2, 30)
    # On a busy machine calls bunch together: the others' burst leaves room for that.
    async with gateway(
        rate(PER_SECOND, 1000), rate(PER_SECOND, BURST, subject="payments")
    ) as world:
        began = time.monotonic()
        noisy, *others = await asyncio.gather(
            paced(world, "payments", NOISE, seconds),
            *(paced(world, tenant, QUIET, seconds) for tenant in ("databases", "standby", "admin")),
        )
        lasted_s = time.monotonic() - began
        assert others == [Counter(VAULT_NOT_FOUND=QUIET * seconds)] * 3
        assert noisy.keys() == {"VAULT_NOT_FOUND", "RATE_LIMIT"}
        assert BURST <= noisy["VAULT_NOT_FOUND"] <= BURST + PER_SECOND * lasted_s
        project, _ = TENANTS["payments"]
        arrived = [
            entry for entry in world.emulator.state.truth.entries() if entry.project_id == project
        ]
        assert len(arrived) == noisy["VAULT_NOT_FOUND"], "a refused call has reached CBR"
