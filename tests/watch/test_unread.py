"""Callers that never read: their streams end all the same, and hold up no drain."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from cbrgateway.v1 import task_pb2, task_pb2_grpc

from tests.functional.calls import until
from tests.harness import World, running_gateway
from tests.watch.streams import FAST, STILL, start_task

STREAMS, TASKS = 60, 300
WINDOW = [("grpc.http2.lookahead_bytes", 4096), ("grpc.http2.bdp_probe", 0)]


@contextlib.asynccontextmanager
async def unread(world: World) -> AsyncIterator[list[Any]]:
    """Streams of which nothing is read, each with more to say than its window takes."""
    for _ in range(TASKS):
        start_task(world)
    async with grpc.aio.insecure_channel(world.app.address, options=WINDOW) as channel:
        stub = task_pb2_grpc.TaskServiceStub(channel)
        yield [
            stub.WatchTasks(task_pb2.WatchTasksRequest(), metadata=world.metadata())
            for _ in range(STREAMS)
        ]


async def test_a_reader_that_never_reads_holds_no_handler() -> None:
    async with (
        running_gateway(sections={"watch": FAST | {"stall_s": 3}}, pace=STILL) as world,
        unread(world) as calls,
    ):
        in_flight = world.app.servers.in_flight
        await until(lambda: in_flight.number == STREAMS)
        await until(lambda: world.app.hub.counts.cuts["CALLER_TOO_SLOW"] == STREAMS, 60)
        await until(lambda: in_flight.number == 0, 30)
        assert not world.app.hub.queues
        with contextlib.suppress(grpc.aio.AioRpcError):
            async for _ in calls[0]:
                pass
        assert await calls[0].code() == grpc.StatusCode.ABORTED


async def test_a_drain_does_not_wait_for_readers_that_never_read() -> None:
    """Neither where a message waits to be read, nor where only the status does."""
    async with (
        running_gateway(
            {"drain_delay_s": 0, "drain_grace_s": 600},
            {"watch": FAST | {"stall_s": 600}},
            pace=STILL,
        ) as world,
        unread(world),
    ):
        await until(lambda: len(world.app.hub.queues) == STREAMS)
        async with asyncio.timeout(60):
            await world.app.servers.drain(world.app.hub.end, world.app.client.release)
        assert not world.app.hub.queues
