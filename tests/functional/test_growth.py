"""What a call costs does not grow with what the gateway has to know: counted in lines of its Python
that run, with one and with thousands of tenants, limits and open operations.
"""

import asyncio
import contextlib
import hashlib
import os

import pytest

from benchmarks import processes
from benchmarks.counts import lines_of_call, serving
from gateway.state import Charge, Operation

MANY = 10_000 if os.environ.get("QUOTA_SOAK") else 500


def configured(upstream, number):
    config = processes.configuration(upstream, "httptools")
    config["limits"] = [
        {"metric": metric, "level": "tenant", "subject": f"tenant-{n}", **amount}
        for n in range(number)
        for metric, amount in (
            ("requests", {"per_second": 1e6, "burst": 1e6}),
            ("concurrent_changes", {"value": 10**6}),
        )
    ]
    config["tenants"] += [
        {
            "id": f"tenant-{n}",
            "default_project": f"{n:032x}",
            "projects": [{"id": f"{n:032x}", "region": "local", "credential": "main"}],
            "api_keys": [{"id": "k", "sha256": hashlib.sha256(str(n).encode()).hexdigest()}],
        }
        for n in range(number)
    ]
    return config


async def open_operation(store, n):
    charge = Charge(f"vaults:tenant:tenant-{n}", 1, None)
    await store.begin(
        Operation(f"open-{n}", f"tenant-{n}", "CreateVault", "", b"", (charge,), 3600)
    )


@contextlib.asynccontextmanager
async def gateway_with(upstream, number):
    async with serving(configured(upstream, number)) as (app, calls):
        await asyncio.gather(*(open_operation(app.store.operations, n) for n in range(number)))
        yield calls


@pytest.mark.parametrize("workload", ["get", "create"])
async def test_no_call_costs_more_where_there_is_more_of_everything(workload):
    with processes.module("stub", core=processes.LOAD_CORE) as stub:
        async with gateway_with(stub.address, 1) as calls:
            bound = 1.1 * await lines_of_call(calls[workload])
            assert bound > 100
        async with gateway_with(stub.address, MANY) as calls:
            assert await lines_of_call(calls[workload]) <= bound
