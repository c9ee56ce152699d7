"""Clients that repeat calls by themselves, as gRPC does where a service config asks for it: a
request_id makes that safe.
"""

import asyncio
import contextlib
import json

import grpc
import pytest
from cbrgateway.v1 import task_pb2, vault_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from tests.functional.calls import told
from tests.harness import World
from tests.quota.scenes import Outcome, gateway, limit, new_vault, outcome, posts, rate

POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
}
SERVICES = [{"service": f"cbrgateway.v1.{name}"} for name in ("VaultService", "TaskService")]
CONFIG = json.dumps({"methodConfig": [{"name": SERVICES, "retryPolicy": POLICY}]})


@contextlib.asynccontextmanager
async def gateway_and_client(*limits, **more):
    """A gateway, and the same through a channel that repeats what ends as UNAVAILABLE."""
    options = [("grpc.service_config", CONFIG), ("grpc.enable_retries", 1)]
    async with (
        gateway(*limits, **more) as world,
        grpc.aio.insecure_channel(world.app.address, options) as channel,
    ):
        yield world, World(world.app, world.emulator, channel)


def cut(world, when, times):
    world.emulator.state.faults.add(
        {"kind": "cut", "when": when, "match": {"operation": "CreateVault"}, "times": times}
    )


@pytest.mark.parametrize(
    "times", [1, None], ids=["the first answer is lost", "every answer is lost"]
)
async def test_a_repeated_create_joins_the_first_and_gets_its_answer(times):
    async with gateway_and_client(limit("vaults", "tenant", 5)) as (world, client):
        cut(world, "after_commit", times)
        ended = await outcome(
            client, client.stub(VaultServiceStub).CreateVault, new_vault(1, request_id="r-1")
        )
        assert (ended.reason, ended.trailers["replayed"]) == ("OK", "true")
        assert len(posts(world)) == 1
        listed = await outcome(
            client, client.stub(VaultServiceStub).ListVaults, vault_pb2.ListVaultsRequest()
        )
        assert [vault.id for vault in listed.response.vaults] == [ended.response.vault.id]


async def test_a_repeated_create_is_not_sent_again_while_its_outcome_is_open():
    async with gateway_and_client(sections={"quota": {"settle_s": 60}}) as (world, client):
        cut(world, "before_commit", None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub(VaultServiceStub).CreateVault(
                new_vault(1, request_id="r-1"), metadata=world.metadata(), timeout=3
            )
        assert caught.value.code() in {
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        }
        later = await told(
            lambda: outcome(
                world,
                world.stub(VaultServiceStub).CreateVault,
                new_vault(1, request_id="r-1"),
                within_s=1,
            )
        )
        assert (later.reason, later.code) == ("OUTCOME_UNKNOWN", grpc.StatusCode.UNAVAILABLE)
        assert len(posts(world)) == 1


async def test_without_a_request_id_nothing_is_repeated():
    async with gateway_and_client() as (world, client):
        cut(world, "after_commit", None)
        ended = await outcome(client, client.stub(VaultServiceStub).CreateVault, new_vault(1))
        assert (ended.reason, ended.code) == ("OUTCOME_UNKNOWN", grpc.StatusCode.UNKNOWN)
        assert len(posts(world)) == 1


# Delays that the gateway names
# --------------------------------------------------------------------------------------------------


async def throttled(world, client):
    world.emulator.state.faults.add(
        {
            "kind": "status",
            "status": 429,
            "headers": {"Retry-After": "600"},
            "match": {"operation": "ListVault"},
            "times": None,
        }
    )
    return await outcome(
        client, client.stub(VaultServiceStub).ListVaults, vault_pb2.ListVaultsRequest(), within_s=3
    )


async def too_fast(world, client):
    for _ in range(6):
        ended = await outcome(
            client,
            client.stub(VaultServiceStub).ListVaults,
            vault_pb2.ListVaultsRequest(),
            within_s=3,
        )
    return ended


async def too_many_streams(world, client):
    async with watching(world):
        return await outcome(
            client,
            client.stub(TaskServiceStub).WaitTask,
            task_pb2.WaitTaskRequest(task_id="x"),
            within_s=1.3,
        )


async def too_many_streams_for_one_more(world, client):
    async with watching(world):
        call = client.stub(TaskServiceStub).WatchTasks(
            task_pb2.WatchTasksRequest(), metadata=world.metadata(), timeout=1.3
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        return Outcome(None, caught.value, caught.value.trailing_metadata())


@contextlib.asynccontextmanager
async def watching(world):
    call = world.stub(TaskServiceStub).WatchTasks(
        task_pb2.WatchTasksRequest(), metadata=world.metadata()
    )
    await call.read()
    yield
    call.cancel()


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (throttled, "UPSTREAM_THROTTLED"),
        (too_fast, "RATE_LIMIT"),
        (too_many_streams, "STREAM_LIMIT"),
        (too_many_streams_for_one_more, "STREAM_LIMIT"),
    ],
)
async def test_a_delay_that_the_deadline_does_not_leave_ends_the_call_with_its_reason(fail, reason):
    async with gateway_and_client(
        rate(0.01, 10) if fail is too_fast else limit("open_streams", "tenant", 1)
    ) as (world, client):
        ended = await told(lambda: fail(world, client))
        assert (ended.reason, ended.trailers["grpc-retry-pushback-ms"]) == (reason, "-1")


async def test_a_delay_that_is_no_time_at_all_hangs_no_call():
    async with gateway_and_client(rate(400, 10)) as (_world, client):
        method = client.stub(VaultServiceStub).ListVaults
        ended = await asyncio.gather(
            *(
                outcome(client, method, vault_pb2.ListVaultsRequest(), within_s=10)
                for _ in range(200)
            )
        )
        assert {each.reason for each in ended} <= {"OK", "RATE_LIMIT"}
