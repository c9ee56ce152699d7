"""The admin port, asked as probes ask."""

import asyncio
import contextlib
import socket
import threading
import time
from http import HTTPStatus
from importlib.metadata import version

import httpx
import pytest

from gateway.admin.http import AdminServer, answer
from gateway.admin.probes import Probes
from gateway.app import open_app
from gateway.rpc.port import AddressInUse
from gateway.state import StoreDown
from tests.harness import config_for, running_gateway

ADMIN = {"admin": {"listen": "127.0.0.1:0"}}


@pytest.fixture(scope="module")
async def world():
    async with running_gateway(sections=ADMIN) as world:
        yield world


@pytest.fixture
async def admin(world):
    async with httpx.AsyncClient(base_url=f"http://{world.app.admin_address}") as client:
        yield client


def probe_page(environ, start):
    return answer(start, HTTPStatus.OK, "ok\n")


@contextlib.asynccontextmanager
async def serving(routes):
    server = AdminServer("127.0.0.1:0", routes)
    server.start()
    try:
        yield server.address
    finally:
        await asyncio.to_thread(server.stop)


async def test_a_gateway_that_serves_is_alive_and_ready(admin, world):
    alive, ready = await admin.get("/livez"), await admin.get("/readyz")
    assert (alive.status_code, alive.text) == (200, "ok\n")
    assert (ready.status_code, ready.text.splitlines()) == (
        200,
        [
            "[+]event-loop ok",
            "[+]serving ok",
            f"[+]configuration ok: version {world.app.current.snapshot.version}",
            "[+]store ok",
            "[+]audit ok: there is no audit log",
            "ready",
        ],
    )


async def test_it_tells_its_version(admin, world):
    told = (await admin.get("/version")).json()
    assert told["version"] == version("cbr-gateway")
    assert told["configuration"] == world.app.current.snapshot.version
    assert told.keys() == {"version", "python", "grpcio", "protobuf", "configuration"}


async def test_other_paths_and_methods_are_refused_with_what_there_is(admin):
    nothing, posted = await admin.get("/metric"), await admin.post("/readyz")
    assert nothing.status_code == 404
    assert "/readyz\n" in nothing.text
    assert (posted.status_code, posted.text) == (405, "only GET and HEAD are answered here\n")


async def test_a_check_can_be_left_out_by_its_name(admin):
    fewer = await admin.get("/readyz", params={"exclude": ["store", "audit"]})
    assert fewer.status_code == 200
    assert "store" not in fewer.text
    wrong = await admin.get("/readyz", params={"exclude": "stroe"})
    assert wrong.status_code == 400
    assert wrong.text == (
        "there is no check stroe; there are event-loop, serving, configuration, store, audit\n"
    )


async def test_a_store_that_is_down_makes_it_unready(monkeypatch):
    async with running_gateway(sections=ADMIN) as world, httpx.AsyncClient() as client:
        url = f"http://{world.app.admin_address}"

        async def down():
            raise StoreDown("redis://user:canary@store does not answer")

        monkeypatch.setattr(world.app.store.overrides, "version", down)
        ready = await client.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert "[-]store failed: the store does not answer; the log has why\n" in ready.text
        assert ready.text.endswith("not ready\n")
        assert (await client.get(f"{url}/readyz?exclude=store")).status_code == 200
        assert (await client.get(f"{url}/livez")).status_code == 200


async def test_a_gateway_that_drains_is_alive_and_not_ready():
    async with running_gateway(sections=ADMIN) as world, httpx.AsyncClient() as client:
        world.app.servers.health.announce(serving=False)
        url = f"http://{world.app.admin_address}"
        ready = await client.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert "[-]serving failed: draining\n" in ready.text
        assert (await client.get(f"{url}/livez")).status_code == 200


async def test_a_loop_that_stands_still_is_told_by_both():
    async with running_gateway({"stall_s": 0.2}, ADMIN) as world:
        address, health = world.app.admin_address, world.app.servers.health
        found = []

        def ask():
            for _ in range(3000):
                if health.stalled:
                    break
                time.sleep(0.01)
            found.extend(httpx.get(f"http://{address}/{path}") for path in ("livez", "readyz"))
            asked.set()

        asked = threading.Event()
        asking = asyncio.get_running_loop().run_in_executor(None, ask)
        # Nothing is awaited: the loop stands still until both were answered.
        assert asked.wait(60)
        await asking
        assert [each.status_code for each in found] == [503, 503]
        assert "[-]event-loop failed: it stands still\n" in found[1].text


async def test_checks_that_do_not_end_are_not_waited_for(monkeypatch):
    monkeypatch.setattr("gateway.admin.probes._ASKED_S", 0.1)
    probes = Probes(asyncio.get_running_loop(), lambda: True, {"store": asyncio.Event().wait})
    async with (
        serving({"/readyz": probes.readyz}) as address,
        httpx.AsyncClient() as client,
    ):
        ready = await client.get(f"http://{address}/readyz")
    assert ready.status_code == 503
    assert "[-]event-loop failed: no answer within 0.1 s\n" in ready.text


async def test_a_page_that_fails_tells_nothing_of_it():
    def broken(environ, start):
        raise RuntimeError("canary")

    async with serving({"/metrics": broken}) as address, httpx.AsyncClient() as client:
        failed = await client.get(f"http://{address}/metrics")
    assert (failed.status_code, failed.text) == (500, "failed; see the log\n")


def connected(address, own="127.0.0.1", says=b"GET /liv"):
    """A connection that says a part of a request."""
    host, _, port = address.partition(":")
    made = socket.create_connection((host, int(port)), 30, (own, 0))
    made.sendall(says)
    return made


async def closed(connection):
    """Waits until the server has closed it."""
    with contextlib.suppress(ConnectionResetError):
        assert await asyncio.to_thread(connection.recv, 1) == b""
    connection.close()


async def test_whoever_says_nothing_is_cut(monkeypatch):
    monkeypatch.setattr("gateway.admin.http._Handler.timeout", 1.0)
    async with serving({"/livez": probe_page}) as address, httpx.AsyncClient() as client:
        silent = [connected(address) for _ in range(3)]
        await asyncio.gather(*map(closed, silent))
        assert (await client.get(f"http://{address}/livez")).text == "ok\n"


async def test_a_newcomer_is_served_in_the_place_of_who_was_silent_for_longest(monkeypatch):
    monkeypatch.setattr("gateway.admin.http._AT_ONCE", 3)
    monkeypatch.setattr("gateway.admin.http._Handler.timeout", 300.0)
    async with serving({"/livez": probe_page}) as address, httpx.AsyncClient() as client:
        silent = [connected(address) for _ in range(20)]
        await asyncio.gather(*map(closed, silent[:17]))
        assert (await client.get(f"http://{address}/livez")).text == "ok\n"
        await closed(silent[17])
        for each in silent[18:]:
            each.sendall(b"ez HTTP/1.0\r\n\r\n")
            assert (await asyncio.to_thread(each.recv, 12)) == b"HTTP/1.0 200"
            each.close()


async def test_probes_are_answered_while_others_connect_again_and_again(monkeypatch):
    """Those of another address than the one that has most places lose none."""
    monkeypatch.setattr("gateway.admin.http._AT_ONCE", 3)
    monkeypatch.setattr("gateway.admin.http._Handler.timeout", 300.0)
    async with serving({"/livez": probe_page}) as address:
        waiting = [connected(address, "127.0.0.3") for _ in range(3)]
        for _ in range(20):
            probe = connected(address, "127.0.0.2")
            waiting += [connected(address, "127.0.0.3") for _ in range(10)]
            probe.sendall(b"ez HTTP/1.0\r\n\r\n")
            assert (await asyncio.to_thread(probe.recv, 12)) == b"HTTP/1.0 200"
            probe.close()
        for each in waiting:
            each.close()


async def test_an_answer_that_is_being_made_is_not_cut_off(monkeypatch):
    monkeypatch.setattr("gateway.admin.http._AT_ONCE", 2)
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(environ, start):
        begun.release()
        assert go_on.wait(60)
        return probe_page(environ, start)

    async with serving({"/metrics": slow}) as address:
        asked = [connected(address, says=b"GET /metrics HTTP/1.0\r\n\r\n") for _ in range(2)]
        for _ in asked:
            assert await asyncio.to_thread(begun.acquire, timeout=30)
        await closed(connected(address))
        go_on.set()
        for each in asked:
            assert (await asyncio.to_thread(each.recv, 12)) == b"HTTP/1.0 200"
            each.close()


async def test_an_address_that_is_taken_is_named_at_the_start():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AddressInUse, match=f"cannot listen on {address}"):
            async with open_app(config_for("http://127.0.0.1:9", {"admin": {"listen": address}})):
                pass


async def test_there_need_be_no_such_port():
    async with running_gateway(sections={"admin": {"listen": None}}) as world:
        assert world.app.admin_address == ""
