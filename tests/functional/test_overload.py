"""More calls than can be carried out: who is served, who is refused, and how."""

import asyncio
from collections import Counter

import grpc
import pytest
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

from emulator.settings import DATABASES_PROJECT_ID, PAYMENTS_PROJECT_ID
from gateway.rpc.fair_queue import TURN_UNITS
from tests.functional.calls import Failure, arrived, caller, order, until
from tests.harness import running_gateway
from tests.metrics.scrape import scrape

GET = "VaultService/GetVault"
CALLER = "AccessService/GetCaller"
MISSING = {"vault_id": "6d0f3a52-91c7-4be8-a3f4-0c2b7e95d148"}
NOISE = 60


def narrow(**more):
    """A gateway that carries out one call at a time."""
    overload = {"min_calls": 1, "max_calls": 1, "max_wait_s": 60, **more}
    return running_gateway(
        {"overload": overload, "limits": {"max_pending_requests": 1000}},
        {"admin": {"listen": "127.0.0.1:0"}},
    )


@pytest.fixture
async def world():
    async with narrow() as running:
        yield running


async def held(world, tenant="payments"):
    """A call that is carried out until it is let go: its task, and what lets it go."""
    fault = order(world, "delay", GET, seconds=60)
    call = asyncio.create_task(caller(world, tenant)(GET, MISSING, timeout_s=60))
    await until(lambda: arrived(world, GET))
    return call, lambda: world.emulator.state.faults.release(fault)


def many(world, tenant, count):
    return [
        asyncio.create_task(caller(world, tenant)(GET, MISSING, timeout_s=60)) for _ in range(count)
    ]


def room(world):
    return world.app.concurrency


async def test_a_noisy_tenant_leaves_the_others_their_turn(world):
    first, release = await held(world)
    noisy = many(world, "payments", NOISE)
    await until(lambda: room(world).waiting == NOISE)
    quiet = [await caller(world, "databases")(GET, MISSING, timeout_s=60) for _ in range(3)]
    assert {each.reason for each in quiet} == {"VAULT_NOT_FOUND"}
    assert room(world).waiting == NOISE, "while nothing of the noisy tenant goes on"
    release()
    ended = await asyncio.gather(first, *noisy)
    assert {each.reason for each in ended} == {"VAULT_NOT_FOUND"}
    await until(lambda: room(world).running == 0)


async def test_two_tenants_with_as_many_calls_are_served_in_turns(world):
    first, release = await held(world)
    second, release_second = await held(world, "databases")
    calls = [*many(world, "payments", NOISE), *many(world, "databases", NOISE)]
    await until(lambda: room(world).waiting == 2 * NOISE)
    release()
    release_second()
    await asyncio.gather(first, second, *calls)
    order_ = [entry.project_id for entry in arrived(world, GET)][2:]
    for upto in range(2 * TURN_UNITS, 2 * NOISE, 2 * TURN_UNITS):
        served = Counter(order_[:upto])
        apart = served[PAYMENTS_PROJECT_ID] - served[DATABASES_PROJECT_ID]
        assert abs(apart) <= TURN_UNITS + 2, served


async def test_who_finds_no_room_is_told_so_and_nothing_of_the_call_is_done():
    async with narrow(max_waiting=5) as world:
        first, release = await held(world)
        calls = many(world, "payments", 12)
        await until(lambda: room(world).refused["payments"] == 7)
        release()
        ended = Counter(each.reason for each in await asyncio.gather(first, *calls))
        assert ended == {"VAULT_NOT_FOUND": 6, "OVERLOADED": 7}
        assert len(arrived(world, GET)) == 6


@pytest.mark.parametrize("method", ["unary", "stream"])
async def test_a_refusal_is_resource_exhausted_with_a_delay(method):
    async with narrow(max_waiting=0) as world:
        first, release = await held(world)
        if method == "unary":
            failed = await caller(world).fails(GET, MISSING)
        else:
            failed = await caller(world).fails("TaskService/WaitTask", {"task_id": "a-task"})
        assert (failed.code, failed.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        delay = failed.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds()
        assert 0.5 <= delay <= 1.5
        assert int(failed.trailers["grpc-retry-pushback-ms"]) >= 500
        found = await scrape(world, under_way=1)
        assert found.value("cbr_overload_refusals_total", tenant="payments") == 1
        assert found.value("cbr_call_errors_total", reason="OVERLOADED") == 1
        assert found.value("cbr_calls_carried_out") == 1
        release()
        await first


async def test_what_is_answered_from_memory_and_other_tenants_do_not_wait():
    async with narrow(max_waiting=0) as world:
        first, release = await held(world)
        assert not isinstance(await caller(world)(CALLER), Failure)
        assert (await caller(world, "databases").fails(GET, MISSING)).reason == "VAULT_NOT_FOUND"
        release()
        await first


async def test_streams_hold_no_place_once_they_have_begun(world):
    watch = TaskServiceStub(world.channel).WatchTasks
    streams = [
        watch(task_pb2.WatchTasksRequest(), metadata=world.metadata(), timeout=60) for _ in range(3)
    ]
    for stream in streams:
        assert await stream.read() is not grpc.aio.EOF
    assert (await caller(world).fails(GET, MISSING)).reason == "VAULT_NOT_FOUND"
    await until(lambda: room(world).running == 0)
    for stream in streams:
        stream.cancel()


async def test_a_caller_that_leaves_while_it_waits_gives_its_turn_to_the_next(world):
    first, release = await held(world)
    (gone,) = many(world, "payments", 1)
    await until(lambda: room(world).waiting == 1)
    (stays,) = many(world, "payments", 1)
    await until(lambda: room(world).waiting == 2)
    gone.cancel()
    await until(lambda: room(world).waiting == 1)
    release()
    assert [each.reason for each in await asyncio.gather(first, stays)] == 2 * ["VAULT_NOT_FOUND"]
    await until(lambda: room(world).running == 0)
