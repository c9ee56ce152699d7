"""Clients that repeat calls by themselves, as gRPC does where a service config asks for it: a request_id makes that safe."""

import contextlib
import json

import grpc
import pytest
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from tests.functional.calls import told
from tests.harness import World
from tests.quota.scenes import gateway, limit, new_vault, outcome, posts

POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.05s",
    "maxBackoff": "0.2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
CONFIG = json.dumps({"methodConfig": [{"name": [{"service": "cbrgateway.v1.VaultService"}], "retryPolicy": POLICY}]})


@contextlib.asynccontextmanager
async def gateway_and_client(*limits, **more):
    """A gateway, and the same through a channel that repeats what ends as UNAVAILABLE."""
    options = [("grpc.service_config", CONFIG), ("grpc.enable_retries", 1)]
    async with gateway(*limits, **more) as world, grpc.aio.insecure_channel(world.app.address, options) as channel:
        yield world, World(world.app, world.emulator, channel)


def cut(world, when, times):
    world.emulator.state.faults.add({"kind": "cut", "when": when, "match": {"operation": "CreateVault"}, "times": times})


@pytest.mark.parametrize("times", [1, None], ids=["the first answer is lost", "every answer is lost"])
async def test_a_repeated_create_joins_the_first_and_gets_its_answer(times):
    async with gateway_and_client(limit("vaults", "tenant", 5)) as (world, client):
        cut(world, "after_commit", times)
        ended = await outcome(client, client.stub(VaultServiceStub).CreateVault, new_vault(1, request_id="r-1"))
        assert (ended.reason, ended.trailers["replayed"]) == ("OK", "true")
        assert len(posts(world)) == 1
        listed = await outcome(client, client.stub(VaultServiceStub).ListVaults, vault_pb2.ListVaultsRequest())
        assert [vault.id for vault in listed.response.vaults] == [ended.response.vault.id]


async def test_a_repeated_create_is_not_sent_again_while_its_outcome_is_open():
    async with gateway_and_client(sections={"quota": {"settle_s": 60}}) as (world, client):
        cut(world, "before_commit", None)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stub(VaultServiceStub).CreateVault(new_vault(1, request_id="r-1"), metadata=world.metadata(), timeout=3)
        assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
        later = await told(lambda: outcome(world, world.stub(VaultServiceStub).CreateVault, new_vault(1, request_id="r-1"), within_s=1))
        assert (later.reason, later.code) == ("OUTCOME_UNKNOWN", grpc.StatusCode.UNAVAILABLE)
        assert len(posts(world)) == 1


async def test_without_a_request_id_nothing_is_repeated():
    async with gateway_and_client() as (world, client):
        cut(world, "after_commit", None)
        ended = await outcome(client, client.stub(VaultServiceStub).CreateVault, new_vault(1))
        assert (ended.reason, ended.code) == ("OUTCOME_UNKNOWN", grpc.StatusCode.UNKNOWN)
        assert len(posts(world)) == 1
