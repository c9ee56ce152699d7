"""What a call costs does not grow with what the gateway has to know: counted in lines of its Python
that run, with one and with thousands of tenants, projects, limits and open operations.
"""

import contextlib
import hashlib
import os

import grpc
import msgspec
import pytest
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

from benchmarks import processes
from benchmarks.counts import lines_of_call, serving
from benchmarks.payloads import PROJECT_ID
from benchmarks.ways import API_KEY
from gateway.changes.record import OperationDetail
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
    (own,) = config["tenants"]
    own["projects"] += [
        {"id": f"{n:031x}f", "region": "local", "credential": "main"} for n in range(number)
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


async def open_operation(app, n, tenant):
    charge = Charge(f"vaults:tenant:{tenant}", 1, None)
    detail = msgspec.msgpack.encode(
        OperationDetail(app.recovery.heartbeat.owner, PROJECT_ID, b"", marked=True)
    )
    await app.store.operations.begin(
        Operation(f"open-{tenant}-{n}", tenant, "CreateVault", "", detail, (charge,), 3600)
    )


def watching(address):
    """Opens a stream of tasks, and leaves it once it has begun."""
    metadata = (("authorization", f"Bearer {API_KEY}"),)

    async def watch():
        async with grpc.aio.insecure_channel(address) as channel:
            stream = TaskServiceStub(channel).WatchTasks(
                task_pb2.WatchTasksRequest(), metadata=metadata
            )
            assert (await stream.read()).HasField("snapshot_end")
            stream.cancel()

    return watch


@contextlib.asynccontextmanager
async def gateway_with(upstream, number):
    async with serving(configured(upstream, number)) as (app, calls):
        for n in range(number):
            for tenant in ("bench", f"tenant-{n}"):
                await open_operation(app, n, tenant)
        yield {**calls, "watch": watching(app.address)}


@pytest.mark.parametrize("workload", ["get", "list", "create", "watch"])
async def test_no_call_costs_more_where_there_is_more_of_everything(workload):
    with processes.module("stub", core=processes.LOAD_CORE) as stub:
        async with gateway_with(stub.address, 1) as calls:
            bound = 1.1 * await lines_of_call(calls[workload])
            assert bound > 100
        async with gateway_with(stub.address, MANY) as calls:
            assert await lines_of_call(calls[workload]) <= bound
