"""Calls over HTTP go the way of all calls: limits, records, traces, patience and turns."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.audit.scenes import audited_gateway, records
from tests.functional.calls import order, until
from tests.functional.collector import collecting
from tests.harness import World, running_gateway
from tests.http.conftest import details

HTTP = {"http": {"listen": "127.0.0.1:0"}}
SERVICE = "/cbrgateway.v1.VaultService"
LIST, CREATE = f"{SERVICE}/ListVaults", f"{SERVICE}/CreateVault"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def calling(world: World) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://{world.app.http_address}",
        headers={"authorization": "Bearer key-of-payments"},
        timeout=60,
    )


@contextlib.asynccontextmanager
async def connection(
    world: World,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, _, port = world.app.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()


def head(length: int, *more: bytes) -> bytes:
    lines = (
        f"POST {LIST} HTTP/1.1".encode(),
        b"host: gateway",
        b"authorization: Bearer key-of-payments",
        b"content-type: application/json",
        f"content-length: {length}".encode(),
        *more,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def test_a_limit_refuses_and_says_when_to_come_again():
    limits = [{"metric": "requests", "per_second": 0.01, "burst": 10}]
    async with running_gateway(sections={**HTTP, "limits": limits}) as world, calling(world) as to:
        answers = [await to.post(LIST, json={}) for _ in range(11)]
    assert (answers[0].status_code, answers[-1].status_code) == (200, 429)
    shown = details(answers[-1].json())
    assert shown["ErrorInfo"]["reason"] == "RATE_LIMIT"
    delay = float(shown["RetryInfo"]["retryDelay"].removesuffix("s"))
    assert delay <= int(answers[-1].headers["retry-after"]) < delay + 1
    assert "QuotaFailure" in shown


async def test_calls_and_refusals_are_on_record_with_where_they_come_from(tmp_path: Path):
    async with (
        audited_gateway(
            tmp_path, audit={"policy": [{"rpc": "*", "level": "request"}]}, sections=HTTP
        ) as world,
        calling(world) as to,
    ):
        done = await to.post(LIST, json={"pageSize": 3})
        refused = await to.post(LIST, json={}, headers={"authorization": "Bearer wrong"})
        none = await to.post(f"{SERVICE}/ListVault", json={})
    rows = records(tmp_path)
    calls = {answer.headers["x-request-id"] for answer in (done, refused, none)}
    of_calls = [row for row in rows if any(each in str(row) for each in calls)]
    assert len(of_calls) == len(calls) == 3
    for row in of_calls:
        assert row["src_endpoint"]["ip"] == "127.0.0.1"
        assert row["src_endpoint"]["port"] > 0


async def test_a_call_continues_its_caller_s_trace():
    with collecting() as collector:
        sections = {**HTTP, "tracing": {"endpoint": collector.address}}
        async with running_gateway(sections=sections) as world, calling(world) as to:
            told = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            await to.post(LIST, json={}, headers=told)
        name = "cbrgateway.v1.VaultService/ListVaults"
        await until(lambda: collector.named(name))
        assert collector.named(name)[0].trace_id.hex() == TRACE


async def test_a_request_that_does_not_arrive_is_not_waited_for():
    limits = {"limits": {"message_timeout_s": 0.2}}
    async with running_gateway(server=limits, sections=HTTP) as world, connection(world) as (r, w):
        w.write(head(100) + b'{"pageSize"')
        answer = await r.readuntil(b"}]}")
    assert b"409 Conflict" in answer
    assert b"CALLER_TOO_SLOW" in answer


async def test_a_request_that_is_waited_for_is_refused_at_the_end():
    async with (
        running_gateway(server={"drain_grace_s": 1}, sections=HTTP) as world,
        connection(world) as (reader, writer),
    ):
        writer.write(head(100))
        await until(lambda: world.app.servers.in_flight.number)
        await world.app.servers.drain(world.app.hub.end, world.app.client.release)
        answer = await reader.read()
    assert b"503 Service Unavailable" in answer
    assert b"SHUTTING_DOWN" in answer


async def test_a_caller_who_leaves_ends_the_call():
    async with running_gateway(sections=HTTP) as world, connection(world) as (_, writer):
        order(world, "delay", "VaultService/ListVaults", seconds=60)
        in_flight = world.app.servers.in_flight
        writer.write(head(2) + b"{}")
        await until(lambda: in_flight.number)
        writer.close()
        await until(lambda: not in_flight.number)


async def test_a_head_that_is_too_large_and_a_connection_without_a_caller_are_ended():
    limits = {"limits": {"identification_timeout_s": 0.2}}
    async with running_gateway(server=limits, sections=HTTP) as world:
        async with connection(world) as (reader, writer):
            writer.write(head(2, b"x-large: " + b"x" * 20_000, b"connection: close") + b"{}")
            assert b"431 Request Header Fields Too Large" in await reader.read()
        async with connection(world) as (reader, _):
            assert await asyncio.wait_for(reader.read(), 60) == b""
        async with calling(world) as to:
            assert (await to.post(LIST, json={})).status_code == 200


@pytest.mark.parametrize(("rpc", "rule"), [(LIST, "max_bytes"), (CREATE, "unknown_field")])
async def test_rpcs_that_name_much_take_larger_requests(http, rpc, rule):
    """As the protos declare it: the second is read, and found to hold nonsense."""
    answer = await http.post(rpc, json={"nonsense": "x" * 200_000})
    (found,) = details(answer.json())["BadRequest"]["fieldViolations"]
    assert found["reason"] == rule
