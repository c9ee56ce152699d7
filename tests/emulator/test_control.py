"""The control API, repeatability, throttling, and clean starts and stops."""

import asyncio
import subprocess
import sys
import time

import httpx
import pytest
from click.testing import CliRunner

from emulator.cli import main
from emulator.server import RunningEmulator, running_emulator
from emulator.settings import PAYMENTS_PROJECT_ID
from tests.emulator.conftest import Caller, control


async def test_the_same_calls_give_the_same_ids_after_a_reset(
    http: httpx.AsyncClient, payments: Caller
):
    first = await payments.vault()
    await control(http, "POST", "/reset")
    assert (await payments.ok("GET", "/vaults"))["count"] == 0
    assert (await payments.vault())["id"] == first["id"]


async def test_resources_can_be_added(http: httpx.AsyncClient, payments: Caller):
    wish = {
        "project_id": PAYMENTS_PROJECT_ID,
        "servers": [{"name": "big", "volumes": [500, 500]}],
        "disks": 2,
    }
    made = await control(http, "POST", "/seed", wish)
    assert (made["servers"][0]["size"], len(made["disks"])) == (1000, 2)
    found = await payments.ok("GET", "/protectables/server/instances?name=big")
    assert found["instances"][0]["id"] == made["servers"][0]["id"]


@pytest.mark.parametrize(
    "wish", [{}, {"project_id": "nobody"}, {"project_id": PAYMENTS_PROJECT_ID, "boats": 1}]
)
async def test_nonsense_is_not_seeded(http: httpx.AsyncClient, wish: dict[str, object]):
    assert (await http.post("/_emulator/seed", json=wish)).status_code == 400


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/seed", [1]),
        ("/seed", {"project_id": PAYMENTS_PROJECT_ID, "servers": "x"}),
        ("/seed", {"project_id": PAYMENTS_PROJECT_ID, "servers": [{"size": "big"}]}),
        ("/seed", {"project_id": PAYMENTS_PROJECT_ID, "boats": 1}),
        ("/clock", {"step_s": "soon"}),
        ("/clock", {"step_s": None, "steps": 1}),
        ("/transitions", {"mode": "sometimes"}),
        ("/transitions", {"reads": {}}),
        ("/faults", {"kind": "boom"}),
        ("/faults", {"kind": "status", "headers": "x"}),
        ("/faults", {"faults": 7}),
        ("/images", {}),
    ],
)
async def test_refusals_are_sentences_for_people(http: httpx.AsyncClient, path: str, body: object):
    reply = await http.post(f"/_emulator{path}", json=body)
    assert reply.status_code == 400
    text = reply.json()["error"]
    assert isinstance(text, str)
    assert not set(text) & set("'\"{}<>"), text


async def test_what_is_not_json_is_refused(http: httpx.AsyncClient):
    reply = await http.post("/_emulator/clock", content=b"\xff")
    assert (reply.status_code, reply.json()) == (400, {"error": "the body is not JSON"})
    assert (await http.get("/_emulator/truth?since=x")).json() == {
        "error": "Invalid since provided: must be an integer."
    }


async def test_the_truth_log_tells_what_happened(http: httpx.AsyncClient, payments: Caller):
    vault = await payments.vault(servers=0)
    await payments("GET", "/vaults?name=%2e%2e&limit=5")
    entries = (await control(http, "GET", "/truth"))["entries"]
    made, listed = entries[-2:]
    assert (made["operation"], made["committed"], made["reply"]["vault"]["id"]) == (
        "CreateVault",
        True,
        vault["id"],
    )
    assert listed["target"] == f"/v3/{PAYMENTS_PROJECT_ID}/vaults?name=%2e%2e&limit=5"
    assert (listed["committed"], listed["status"], listed["reply"]) == (False, 200, None)
    newer = (await control(http, "GET", f"/truth?since={made['seq']}"))["entries"]
    assert [entry["seq"] for entry in newer] == [listed["seq"]]
    await control(http, "DELETE", "/truth")
    assert (await control(http, "GET", "/truth"))["entries"] == []


async def test_the_state_dump_shows_all_projects(
    http: httpx.AsyncClient, payments: Caller, databases: Caller
):
    await payments.backup((await payments.vault())["id"])
    await databases.vault(servers=0)
    state = await control(http, "GET", "/state")
    assert (len(state["vaults"]), len(state["checkpoints"]), len(state["backups"])) == (2, 1, 3)


async def test_time_only_moves_forward(http: httpx.AsyncClient):
    assert (await http.post("/_emulator/clock", json={"step_s": -1})).status_code == 400
    before = (await control(http, "GET", "/clock"))["now"]
    assert (await control(http, "POST", "/clock", {"step_s": 10}))["now"] >= before + 10


async def test_throttling_counts_per_project_and_operation():
    async with (
        running_emulator(throttle_rps=3, auth=False) as running,
        httpx.AsyncClient(base_url=running.base_url) as http,
    ):
        path = f"/v3/{PAYMENTS_PROJECT_ID}/vaults"
        replies = [await http.get(path) for _ in range(8)]
        refused = [reply for reply in replies if reply.status_code == 429]
        assert refused
        assert refused[0].json()["error_code"] == "APIGW.0308"
        assert (await http.get(f"{path}/summary")).status_code == 200


async def test_stopping_does_not_wait_for_a_hanging_request():
    async with asyncio.timeout(60):
        async with (
            running_emulator(auth=False) as running,
            httpx.AsyncClient(base_url=running.base_url) as http,
        ):
            await control(http, "POST", "/faults", {"kind": "delay", "seconds": 3600})
            hanging = asyncio.create_task(http.get(f"/v3/{PAYMENTS_PROJECT_ID}/vaults"))
            await asyncio.sleep(0.1)
            assert running.state.truth.entries()
            hanging.cancel()
            await asyncio.gather(hanging, return_exceptions=True)


async def test_two_emulators_share_nothing(running: RunningEmulator, payments: Caller):
    await payments.vault()
    async with running_emulator() as other:
        assert other.port != running.port
        assert other.state.world.vaults == {}


def test_the_program_explains_itself():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "--transitions" in result.output


def test_the_program_serves_until_it_is_told_to_stop(unused_tcp_port: int):
    command = [sys.executable, "-m", "emulator", "--port", str(unused_tcp_port), "--no-auth"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert status_of_root(unused_tcp_port) == 300
    finally:
        process.terminate()
    assert process.wait(60) in {0, -15}


def status_of_root(port: int) -> int:
    """Ask until somebody listens; the time limit of the test ends it."""
    while True:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/").status_code
        except httpx.TransportError:
            time.sleep(0.05)
