"""A region in trouble is not beaten further, and nobody else pays for it."""

import asyncio
import random
import socket

import grpc

from emulator.settings import PAYMENTS_PROJECT_ID
from gateway.app import open_app
from gateway.upstream.breakers import Breakers
from gateway.upstream.http import MAX_BODY_BYTES
from gateway.upstream.settings import RegionSettings
from tests.fakes import SteppedClock
from tests.functional import stage
from tests.functional.calls import Caller, Failure, arrived, caller, order
from tests.harness import STANDBY_REGION, World, config_for

LIST, CREATE = "VaultService/ListVaults", "VaultService/CreateVault"
OFFERED = 200
FLOOR = 45
"""Attempts beyond the tenth that a burst may cost: the bucket's 500 tokens at 14 for a retry, and
what was in flight when it was empty.
"""


async def offer(call, rpc, fields, count=OFFERED, at_once=8):
    """Makes `count` calls, some at once (few, so that the server's own cap stays out of it), and
    returns the answers.
    """
    gate = asyncio.Semaphore(at_once)

    async def one():
        async with gate:
            return await call(rpc, fields)

    return await asyncio.gather(*(one() for _ in range(count)))


async def test_a_burst_of_503_is_not_multiplied(world, payments):
    order(world, "status", status=503, body={}, times=None)
    answers = await offer(payments, LIST, {})
    assert all(isinstance(answer, Failure) and answer.code == "UNAVAILABLE" for answer in answers)
    assert len(arrived(world)) <= 1.1 * OFFERED + FLOOR
    refused = [answer for answer in answers if answer.reason == "UPSTREAM_UNREACHABLE"]
    assert refused, "the breaker opened"
    assert {
        answer.facts.get("sent", "no") for answer in refused if "attempts" not in answer.facts
    } <= {"no"}


async def test_retries_have_a_budget_when_the_breaker_stays_closed(world, payments):
    """Just under half of the calls fail: the breaker lets them through, the bucket must do the
    rest.
    """
    order(world, "status", LIST, status=502, body={}, times=None, probability=0.4)
    await offer(payments, LIST, {}, count=300)
    assert len(arrived(world, LIST)) <= 1.1 * 300 + FLOOR


async def test_an_open_breaker_sends_nothing(world, payments):
    order(world, "status", LIST, status=503, body={}, times=None)
    await offer(payments, LIST, {}, count=60)
    sent = len(arrived(world))
    failed = await payments.fails(LIST)
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "UPSTREAM_UNREACHABLE")
    assert "attempts" not in failed.facts
    assert failed.details["RetryInfo"].retry_delay.ToMilliseconds() >= 1000
    assert len(arrived(world)) == sent


async def test_the_breaker_of_reads_leaves_writes_alone(world, payments):
    order(world, "status", LIST, status=503, body={}, times=None)
    await offer(payments, LIST, {}, count=60)
    assert (await payments.fails(LIST)).reason == "UPSTREAM_UNREACHABLE"
    assert (
        await payments.fails("VaultService/DeleteVaultTag", {"vault_id": "none", "key": "k"})
    ).reason != "UPSTREAM_UNREACHABLE"


async def test_creates_that_fail_are_never_multiplied(world, payments):
    order(world, "cut", CREATE, times=None)
    answers = await offer(payments, CREATE, stage.vault_request(), count=100)
    assert {answer.reason for answer in answers} == {"OUTCOME_UNKNOWN", "UPSTREAM_UNREACHABLE"}
    unknown = sum(answer.reason == "OUTCOME_UNKNOWN" for answer in answers)
    assert len(arrived(world, CREATE)) == unknown


async def test_the_breaker_closes_when_the_region_is_well_again(world, payments):
    clock = SteppedClock()
    world.app.client.factory.breakers = Breakers(clock, random.random)
    order(world, "status", LIST, status=503, body={}, times=None)
    await offer(payments, LIST, {}, count=60)
    assert (await payments.fails(LIST)).reason == "UPSTREAM_UNREACHABLE"
    world.emulator.state.faults.remove()
    clock.advance(10)
    for _ in range(5):
        await payments.ok(LIST)
    answers = await offer(payments, LIST, {}, count=50)
    assert not [answer for answer in answers if isinstance(answer, Failure)]


async def test_one_region_down_leaves_the_other_alone(world):
    config = config_for(world.emulator.base_url)
    with socket.socket() as nowhere:
        nowhere.bind(("127.0.0.1", 0))
        down = {
            STANDBY_REGION: RegionSettings(endpoint=f"http://127.0.0.1:{nowhere.getsockname()[1]}")
        }
        upstream = config.upstream.model_copy(
            update={"regions": {**config.upstream.regions, **down}}
        )
        half = config.model_copy(update={"upstream": upstream})
        async with open_app(half) as app, grpc.aio.insecure_channel(app.address) as channel:
            well, broken = (
                Caller(channel, World.metadata(tenant)) for tenant in ("payments", "standby")
            )
            answers, others = await asyncio.gather(
                offer(broken, LIST, {}, count=60), offer(well, LIST, {}, count=60)
            )
    assert {(answer.code, answer.reason) for answer in answers} == {
        ("UNAVAILABLE", "UPSTREAM_UNREACHABLE")
    }
    assert not [answer for answer in others if isinstance(answer, Failure)]


async def test_one_throttled_project_leaves_the_others_alone(world, payments):
    match = {"operation": "ListVault", "project_id": PAYMENTS_PROJECT_ID}
    world.emulator.state.faults.add(
        {
            "kind": "status",
            "status": 429,
            "headers": {"Retry-After": "0"},
            "match": match,
            "times": None,
        }
    )
    throttled, standby, databases = await asyncio.gather(
        *(
            offer(call, LIST, {}, count=60)
            for call in (payments, caller(world, "standby"), caller(world, "databases"))
        )
    )
    assert {answer.reason for answer in throttled} == {"UPSTREAM_THROTTLED"}
    assert not [answer for answer in (*standby, *databases) if isinstance(answer, Failure)]
    sent = [entry for entry in arrived(world, LIST) if entry.project_id == match["project_id"]]
    # A throttled retry costs 5 of 500 tokens, and the others' successes give some back.
    assert len(sent) <= 60 + 100 + 120 / 5


async def test_callers_in_a_hurry_open_no_breaker_for_the_others(world, payments):
    order(world, "delay", LIST, seconds=20, times=None)
    answers = await asyncio.gather(*(payments(LIST, {}, timeout_s=0.6) for _ in range(40)))
    assert all(isinstance(answer, Failure) for answer in answers)
    assert not isinstance(await caller(world, "databases")("VaultService/GetVaultSummary"), Failure)


async def test_answers_that_are_too_large_open_no_breaker(world, payments):
    """How much the gateway takes is a limit of its own."""
    order(
        world,
        "status",
        LIST,
        status=200,
        body={"vaults": [], "padding": "x" * MAX_BODY_BYTES},
        times=None,
    )
    answers = await offer(payments, LIST, {"page_size": 1}, count=25)
    assert {answer.reason for answer in answers} == {"UPSTREAM_PROTOCOL"}
    world.emulator.state.faults.remove()
    await payments.ok(LIST)
