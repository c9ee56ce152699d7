"""What a caller's deadline and a caller's leaving mean for the calls to CBR. Bounds are wide: they tell right from wrong, not fast from slow."""

import asyncio
import contextlib
import time

import grpc
import pytest

from gateway.app import open_app
from gateway.upstream.retry import MIN_ATTEMPT_S
from tests.functional import stage
from tests.functional.calls import Caller, Failure, arrived, failure_of, gateway_before, order, until
from tests.harness import World, config_for
from tests.unit.upstream.raw_server import answer, raw_server

EMPTY_LIST = answer(b'{"vaults":[],"count":0}')
SLACK_S = 0.4


@pytest.mark.parametrize("timeout_s", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("rpc", ["VaultService/ListVaults", "VaultService/CreateVault"])
async def test_a_deadline_that_leaves_no_time_sends_nothing(world, payments, rpc, timeout_s):
    failed = await payments.fails(rpc, stage.vault_request() if rpc.endswith("CreateVault") else {}, timeout_s=timeout_s)
    assert failed.code == "DEADLINE_EXCEEDED"
    assert failed.reason in {"", "DEADLINE_TOO_SHORT"}, "empty when the client's own timer was first"
    await asyncio.sleep(0.05)
    assert arrived(world) == []


@pytest.mark.parametrize("delay_s", [0.1, 0.6, 2.0])
async def test_a_read_is_answered_before_the_deadline(world, payments, delay_s):
    order(world, "delay", "VaultService/ListVaults", seconds=delay_s, times=None)

    async def call(timeout_s):
        began = time.monotonic()
        response = await payments("VaultService/ListVaults", {}, timeout_s=timeout_s)
        return timeout_s, response, time.monotonic() - began

    for timeout_s, response, took_s in await asyncio.gather(*map(call, (0.5, 0.8, 1.5, 3.0))):
        assert took_s <= timeout_s + 0.1
        if isinstance(response, Failure):
            assert delay_s > timeout_s - SLACK_S
            assert response.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
        else:
            assert delay_s < timeout_s


async def test_no_attempt_starts_that_has_no_time_to_end(world, payments):
    """Every deadline between nothing and one second, before an upstream that always fails late."""
    order(world, "delay", "VaultService/ListVaults", seconds=0.15, times=None)
    order(world, "status", "VaultService/ListVaults", status=502, body={}, times=None)
    ends = {}

    async def call(timeout_s):
        # The name tells the calls apart in the truth log.
        name = f"vault-{round(timeout_s * 1000)}"
        ends[name] = time.time() + timeout_s
        return await payments("VaultService/ListVaults", {"name": name}, timeout_s=timeout_s)

    for timeout_s in (0.3, 0.45, 0.6, 0.75, 0.9, 1.05):
        await call(timeout_s)
    starts = [(entry.target.partition("name=")[2].partition("&")[0], entry.arrived_at) for entry in arrived(world, "VaultService/ListVaults")]
    assert len(starts) >= 8
    # Arrival is later than the start of the attempt; what is left of it is what the network and the loop took.
    late = {(name, round(ends[name] - at, 3)) for name, at in starts if ends[name] - at < MIN_ATTEMPT_S}
    assert late == set()


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_read_stops_when_its_caller_has_gone(how):
    async def silent(connection):
        await connection.request()
        await connection.until_closed()

    async with raw_server(silent) as upstream, gateway_before(upstream.origin) as (_, anyone):
        call = anyone.start("VaultService/ListVaults", {}, timeout_s=5 if how == "cancel" else 0.6)
        async with asyncio.timeout(3):
            await upstream.arrived.wait()
            if how == "cancel":
                call.cancel()
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await call
            ended = time.monotonic()
            await upstream.seen_closed.wait()
        assert time.monotonic() - ended < SLACK_S


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_change_is_seen_through_when_its_caller_has_gone(world, payments, lines, how):
    order(world, "delay", "VaultService/CreateVault", seconds=2.5)
    call = payments.start("VaultService/CreateVault", stage.vault_request(), timeout_s=5 if how == "cancel" else 1.5)
    await until(lambda: arrived(world, "VaultService/CreateVault"))
    if how == "cancel":
        call.cancel()
    with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)) as raised:
        await call
    if how == "deadline":
        assert failure_of(raised.value).reason == "OUTCOME_UNKNOWN"
    entry = arrived(world, "VaultService/CreateVault")[0]
    assert not entry.committed
    await until(lambda: entry.committed)
    seen = lines()
    async with asyncio.timeout(3):
        while not (ends := [line for line in seen if line["event"] == "change ended after its caller had gone"]):
            await asyncio.sleep(0.02)
            seen = lines()
    assert (ends[0]["operation"], ends[0]["outcome"], ends[0]["sent"]) == ("CreateVault", "done", "yes")
    called = next(line for line in seen if line["event"] == "call")
    assert ends[0]["request_id"] == called["request_id"]
    assert (called["attempts"], called["sent"]) == ("1", "maybe"), "known when the caller left"


async def test_a_change_that_outlasts_the_caller_is_unknown_to_it(world, payments):
    order(world, "delay", "VaultService/CreateVault", seconds=3.5, times=None)
    began = time.monotonic()
    failed = await payments.fails("VaultService/CreateVault", {**stage.vault_request(), "request_id": "late"}, timeout_s=2.0)
    assert time.monotonic() - began <= 2.0, "before the client's own timer"
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "OUTCOME_UNKNOWN")
    assert (failed.facts["attempts"], failed.facts["sent"]) == ("1", "maybe")
    assert len(arrived(world, "VaultService/CreateVault")) == 1


async def test_what_an_earlier_attempt_was_answered_is_not_said_of_a_later_one(world, payments):
    order(world, "status", "VaultService/DeleteVault", status=502, body={})
    order(world, "delay", "VaultService/DeleteVault", seconds=3.5, nth=2)
    failed = await payments.fails("VaultService/DeleteVault", {"vault_id": "gone"}, timeout_s=2.0)
    assert (failed.reason, failed.facts["attempts"], failed.facts["sent"]) == ("OUTCOME_UNKNOWN", "2", "yes")
    assert "upstreamHttpStatus" not in failed.facts


@contextlib.asynccontextmanager
async def one_connection(world, library="auto"):
    """A gateway with a single connection to CBR, and one call that holds it for two seconds."""
    config = config_for(world.emulator.base_url)
    transport = config.upstream.transport.model_copy(update={"max_connections": 1, "transport": library})
    narrow = config.model_copy(update={"upstream": config.upstream.model_copy(update={"transport": transport})})
    async with open_app(narrow) as app, grpc.aio.insecure_channel(app.address) as channel:
        anyone = Caller(channel, World.metadata())
        order(world, "delay", "VaultService/ListVaults", seconds=2.0)
        holder = anyone.start("VaultService/ListVaults", {})
        await until(lambda: arrived(world, "VaultService/ListVaults"))
        yield anyone
        await holder


@pytest.mark.parametrize("library", ["httpx", "aiohttp"])
@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_change_is_not_begun_after_its_caller_has_gone(world, library, how):
    """It waited for a connection, so nothing was sent; whoever left has been told so, or asks again: then there must be one vault, not two."""
    async with one_connection(world, library) as anyone:
        call = anyone.start("VaultService/CreateVault", stage.vault_request(), timeout_s=10 if how == "cancel" else 1.0)
        await asyncio.sleep(0.3)
        if how == "cancel":
            call.cancel()
        with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)) as raised:
            await call
        if how == "deadline":
            failed = failure_of(raised.value)
            assert (failed.code, failed.reason, failed.facts["sent"]) == ("UNAVAILABLE", "UPSTREAM_UNREACHABLE", "no")
    await asyncio.sleep(0.5)
    assert arrived(world, "VaultService/CreateVault") == []


async def test_a_change_to_a_busy_resource_waits_its_turn_and_gives_up_unsent(world, payments):
    """Two writes to one vault follow each other; the second one's caller leaves before its turn."""
    made = await stage.vault(payments)
    order(world, "delay", "VaultService/UpdateVault", seconds=2.0)
    first = payments.start("VaultService/UpdateVault", {"vault_id": made.id, "vault": {"name": "first"}})
    await until(lambda: arrived(world, "VaultService/UpdateVault"))
    failed = await payments.fails("VaultService/UpdateVault", {"vault_id": made.id, "vault": {"name": "second"}}, timeout_s=1.0)
    assert (failed.code, failed.reason) == ("ABORTED", "RESOURCE_BUSY")
    assert "RetryInfo" in failed.details
    assert "another change" in failed.message.lower()
    assert (await first).vault.name == "first"
    await asyncio.sleep(0.3)
    assert len(arrived(world, "VaultService/UpdateVault")) == 1
    assert (await payments.ok("VaultService/GetVault", {"vault_id": made.id})).vault.name == "first"
