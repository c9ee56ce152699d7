"""What a caller's deadline and a caller's leaving mean for the calls to CBR.

Bounds are wide: they tell right from wrong, not fast from slow.
"""

import asyncio
import contextlib
import uuid

import grpc
import pytest

from gateway.app import open_app
from gateway.upstream import client as client_module
from gateway.upstream import retry
from gateway.upstream.http_httptools import HttptoolsTransport
from gateway.upstream.retry import MIN_ATTEMPT_S
from tests.functional import stage
from tests.functional.calls import Caller, arrived, gateway_before, order, told, until
from tests.harness import World, config_for
from tests.unit.upstream.raw_server import answer, raw_server

EMPTY_LIST = answer(b'{"vaults":[],"count":0}')


@pytest.mark.parametrize("timeout_s", [0.02, 0.1, 0.25])
@pytest.mark.parametrize("rpc", ["VaultService/ListVaults", "VaultService/CreateVault"])
async def test_a_deadline_that_leaves_no_time_sends_nothing(world, payments, rpc, timeout_s):
    failed = await payments.fails(
        rpc, stage.vault_request() if rpc.endswith("CreateVault") else {}, timeout_s=timeout_s
    )
    assert failed.code == "DEADLINE_EXCEEDED"
    assert failed.reason in {
        "",
        "DEADLINE_TOO_SHORT",
    }, "empty when the client's own timer was first"
    await asyncio.sleep(0.05)
    assert arrived(world) == []


async def test_a_read_is_answered_before_the_deadline(world, payments):
    order(world, "delay", "VaultService/ListVaults", seconds=20, times=None)

    def call(timeout_s):
        return told(lambda: payments.fails("VaultService/ListVaults", {}, timeout_s=timeout_s))

    failures = await asyncio.gather(*map(call, (1.0, 1.3, 2.0)))
    assert {(failed.code, failed.reason) for failed in failures} == {
        ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE")
    }


async def test_no_attempt_starts_that_has_no_time_to_end(world, payments, monkeypatch):
    """Every deadline between nothing and one second, before an upstream that always fails late."""
    send, left = HttptoolsTransport.send, []

    async def noted(self, request, timeout_s, *more, **options):
        left.append(timeout_s)
        return await send(self, request, timeout_s, *more, **options)

    monkeypatch.setattr(HttptoolsTransport, "send", noted)
    order(world, "delay", "VaultService/ListVaults", seconds=0.15, times=None)
    order(world, "status", "VaultService/ListVaults", status=502, body={}, times=None)

    for number in range(40):
        await payments("VaultService/ListVaults", timeout_s=0.3 + 0.15 * (number % 6))
        if number >= 5 and len(left) >= 8:
            break
    assert len(left) >= 8
    assert min(left) >= MIN_ATTEMPT_S


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_read_stops_when_its_caller_has_gone(how, monkeypatch):
    """Well before the end of the attempt."""
    monkeypatch.setattr(retry, "MAX_ATTEMPT_S", 600.0)
    monkeypatch.setattr(client_module, "READ_CAP_S", 600.0)

    async def silent(connection):
        await connection.request()
        await connection.until_closed()

    async with raw_server(silent) as upstream, gateway_before(upstream.origin) as (_, anyone):
        call = anyone.start(
            "VaultService/ListVaults", {}, timeout_s=500 if how == "cancel" else 1.5
        )
        async with asyncio.timeout(60):
            await upstream.arrived.wait()
            if how == "cancel":
                call.cancel()
            with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
                await call
            await upstream.seen_closed.wait()


@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_change_is_seen_through_when_its_caller_has_gone(world, payments, lines, how):
    held = order(world, "delay", "VaultService/CreateVault", seconds=60)
    call = payments.start(
        "VaultService/CreateVault", stage.vault_request(), timeout_s=20 if how == "cancel" else 1.5
    )
    await until(lambda: arrived(world, "VaultService/CreateVault"))
    if how == "cancel":
        call.cancel()
    with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
        await call
    entry = arrived(world, "VaultService/CreateVault")[0]
    assert not entry.committed
    await until(lambda: [line for line in lines() if line["event"] == "call"])
    world.emulator.state.faults.release(held)
    await until(lambda: entry.committed)

    def alone():
        return [
            line for line in lines() if line["event"] == "change ended after its caller had gone"
        ]

    await until(alone)
    (end,) = alone()
    assert (end["operation"], end["outcome"], end["sent"]) == ("CreateVault", "done", "yes")
    called = next(line for line in lines() if line["event"] == "call")
    assert end["request_id"] == called["request_id"]
    assert (called["attempts"], called["sent"]) == ("1", "maybe"), "known when the caller left"


async def test_a_change_that_outlasts_the_caller_is_unknown_to_it(world, payments):
    async def call():
        world.emulator.state.reset()
        order(world, "delay", "VaultService/CreateVault", seconds=20, times=None)
        return await payments.fails(
            "VaultService/CreateVault",
            {**stage.vault_request(), "request_id": uuid.uuid4().hex},
            timeout_s=1.5,
        )

    failed = await told(call)
    assert (failed.code, failed.reason) == ("UNAVAILABLE", "OUTCOME_UNKNOWN")
    assert (failed.facts["attempts"], failed.facts["sent"]) == ("1", "maybe")
    assert len(arrived(world, "VaultService/CreateVault")) == 1


async def test_what_an_earlier_attempt_was_answered_is_not_said_of_a_later_one(world, payments):
    async def call():
        world.emulator.state.reset()
        order(world, "status", "VaultService/DeleteVault", status=502, body={})
        order(world, "delay", "VaultService/DeleteVault", seconds=20, nth=2)
        return await payments.fails(
            "VaultService/DeleteVault", {"vault_id": uuid.uuid4().hex}, timeout_s=2.5
        )

    failed = await told(call)
    assert (failed.reason, failed.facts["attempts"], failed.facts["sent"]) == (
        "OUTCOME_UNKNOWN",
        "2",
        "yes",
    )
    assert "upstreamHttpStatus" not in failed.facts


@contextlib.asynccontextmanager
async def one_connection(world, library="auto"):
    """A gateway with a single connection to CBR, and one call that holds it meanwhile."""
    config = config_for(world.emulator.base_url)
    transport = config.upstream.transport.model_copy(
        update={"max_connections": 1, "transport": library}
    )
    narrow = config.model_copy(
        update={"upstream": config.upstream.model_copy(update={"transport": transport})}
    )
    async with open_app(narrow) as app, grpc.aio.insecure_channel(app.address) as channel:
        anyone = Caller(channel, World.metadata())
        order(world, "delay", "VaultService/ListVaults", seconds=20)
        holder = anyone.start("VaultService/ListVaults", {})
        await until(lambda: arrived(world, "VaultService/ListVaults"))
        yield anyone
        holder.cancel()
        # Whoever still waits for the connection has it now.
        await anyone("VaultService/ListVaults", {})


@pytest.mark.parametrize("library", ["httpx", "httptools"])
@pytest.mark.parametrize("how", ["cancel", "deadline"])
async def test_a_change_is_not_begun_after_its_caller_has_gone(world, library, how):
    """It waited for a connection, so nothing was sent; whoever left has been told so, or asks
    again: then there must be one vault, not two.
    """
    async with one_connection(world, library) as anyone:
        if how == "cancel":
            call = anyone.start("VaultService/CreateVault", stage.vault_request())
            await asyncio.sleep(0.3)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            failed = await told(
                lambda: anyone.fails(
                    "VaultService/CreateVault", stage.vault_request(), timeout_s=0.8
                )
            )
            assert (failed.code, failed.reason, failed.facts["sent"]) == (
                "UNAVAILABLE",
                "UPSTREAM_UNREACHABLE",
                "no",
            )
    await asyncio.sleep(0.3)
    assert arrived(world, "VaultService/CreateVault") == []


async def test_a_change_to_a_busy_resource_waits_its_turn_and_gives_up_unsent(world, payments):
    """Two writes to one vault follow each other; the second one's caller leaves before its turn."""
    made = await stage.vault(payments)
    held = order(world, "delay", "VaultService/UpdateVault", seconds=60)
    first = payments.start(
        "VaultService/UpdateVault", {"vault_id": made.id, "vault": {"name": "first"}}
    )
    await until(lambda: arrived(world, "VaultService/UpdateVault"))
    second = {"vault_id": made.id, "vault": {"name": "second"}}
    failed = await told(lambda: payments.fails("VaultService/UpdateVault", second, timeout_s=0.6))
    world.emulator.state.faults.release(held)
    assert (failed.code, failed.reason) == ("ABORTED", "RESOURCE_BUSY")
    assert "RetryInfo" in failed.details
    assert "another change" in failed.message.lower()
    assert (await first).vault.name == "first"
    await asyncio.sleep(0.3)
    assert len(arrived(world, "VaultService/UpdateVault")) == 1
    assert (await payments.ok("VaultService/GetVault", {"vault_id": made.id})).vault.name == "first"
