"""The end of a gateway: every call is answered, or refused in words that let it be repeated."""

import asyncio

import grpc
from cbrgateway.v1 import vault_pb2, vault_pb2_grpc

from tests.functional.calls import failure_of, until
from tests.functional.test_arrival import LIST, never
from tests.harness import World, running_gateway

CALLERS = 64
WITHOUT_RETRIES = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]


async def drained(world: World) -> None:
    await world.app.servers.drain(world.app.hub.end, world.app.client.release)


async def test_no_call_ends_without_a_word_however_many_are_made_as_a_drain_begins():
    """Each caller makes the next call as soon as the last one has been answered."""
    ends: list[str] = []

    async def calls_on(stub: vault_pb2_grpc.VaultServiceStub) -> None:
        while True:
            try:
                await stub.ListVaults(vault_pb2.ListVaultsRequest(), metadata=World.metadata())
            except grpc.aio.AioRpcError as error:
                ends.append(error.code().name)
                return

    async with (
        running_gateway(server={"drain_delay_s": 0, "drain_grace_s": 30}) as world,
        grpc.aio.insecure_channel(world.app.address, WITHOUT_RETRIES) as channel,
    ):
        stub = vault_pb2_grpc.VaultServiceStub(channel)
        callers = [asyncio.create_task(calls_on(stub)) for _ in range(CALLERS)]
        await until(lambda: world.app.servers.in_flight.begun >= 3 * CALLERS)
        await drained(world)
        await asyncio.gather(*callers)
    assert ends == ["UNAVAILABLE"] * CALLERS, "who calls again finds nobody"


async def test_what_waits_for_something_else_than_the_cloud_is_refused_at_the_end():
    async with running_gateway(server={"drain_delay_s": 0, "drain_grace_s": 1}) as world:
        call = world.channel.stream_unary(LIST)(never(), metadata=world.metadata(), timeout=60)
        await until(lambda: world.app.servers.in_flight.number)
        await drained(world)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            failed = failure_of(error)
            trailers = dict(error.trailing_metadata())
        assert (failed.code, failed.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
        assert int(trailers["grpc-retry-pushback-ms"]) > 0
