"""The listener itself: when it is off, how it ends, its TLS."""

import asyncio
import subprocess
import sys

import httpx
import pytest
from connectrpc._protocol import ConnectWireError
from connectrpc.code import Code

from gateway.http.codes import STATUS
from tests.functional.calls import order, until
from tests.harness import config_for, running_gateway

HTTP = {"http": {"listen": "127.0.0.1:0"}}
LIST = "/cbrgateway.v1.VaultService/ListVaults"
KEY = {"authorization": "Bearer key-of-payments"}


def test_nothing_of_it_is_loaded_where_it_is_off():
    code = (
        "import sys, gateway.app, gateway.cli.serve, gateway.process\n"
        "print([name for name in ('connectrpc', 'uvicorn', 'h11') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_statuses_are_those_of_the_library():
    assert {
        code.value: ConnectWireError(code, "", ()).to_http_status().code for code in Code
    } == STATUS


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"listen": "8080"}, "is not an address"),
        ({"allowed_origins": ["https://a.example/"]}, "is not an origin"),
        ({"allowed_origins": ["a.example"]}, "is not an origin"),
    ],
)
def test_mistakes_in_its_settings_are_told(section, text):
    with pytest.raises(ValueError, match=text):
        config_for("http://x", {"http": section})


async def test_a_drain_lets_its_calls_end_and_tells_clients_to_leave():
    async with (
        running_gateway(server={"drain_grace_s": 30}, sections=HTTP) as world,
        httpx.AsyncClient(base_url=f"http://{world.app.http_address}", headers=KEY) as client,
    ):
        servers = world.app.servers
        order(world, "delay", seconds=1.0)
        slow = asyncio.create_task(client.post(LIST, json={}, timeout=60))
        await until(lambda: servers.in_flight.number)
        draining = asyncio.create_task(servers.drain(world.app.hub.end, world.app.client.release))
        answer = await slow
        assert answer.status_code == 200, answer.text
        await draining
        with pytest.raises(httpx.ConnectError):
            await client.post(LIST, json={})


async def test_a_drain_ends_streams_in_order():
    async with (
        running_gateway(server={"drain_grace_s": 5}, sections=HTTP) as world,
        httpx.AsyncClient(base_url=f"http://{world.app.http_address}", headers=KEY) as client,
    ):
        servers = world.app.servers
        watching = client.stream(
            "POST", "/cbrgateway.v1.TaskService/WatchTasks", json={}, timeout=60
        )
        async with watching as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            await servers.drain(world.app.hub.end, world.app.client.release)
            rest = [line async for line in lines]
    assert any("event: end" in line or "event: error" in line for line in rest)
