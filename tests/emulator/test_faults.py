"""Each kind of fault does what its name says, on the right side of the commit, to the right
requests.
"""

import asyncio
from typing import Any

import httpx
import pytest

from emulator import wire
from emulator.server import RunningEmulator
from tests.emulator.conftest import Caller, control

CREATE = {"operation": "CreateVault"}


async def order(http: httpx.AsyncClient, kind: str, **fields: Any) -> str:
    answer = await control(http, "POST", "/faults", {"kind": kind, **fields})
    return answer["ids"][0]


async def count(payments: Caller) -> int:
    return (await payments.ok("GET", "/vaults"))["count"]


@pytest.mark.parametrize(("when", "kept"), [("before_commit", 0), ("after_commit", 1)])
async def test_a_status_hides_whether_the_vault_was_made(
    http, payments: Caller, running: RunningEmulator, when, kept
):
    await order(
        http,
        "status",
        match=CREATE,
        when=when,
        status=504,
        headers={"Retry-After": "7"},
        body={"a": 1},
    )
    body = {"vault": {"name": "v", "billing": BILLING, "resources": []}}
    assert await payments("POST", "/vaults", body) == (504, {"a": 1})
    assert await count(payments) == kept
    entry = running.state.truth.entries()[0]
    assert (entry.operation, entry.faults, entry.status, entry.committed) == (
        "CreateVault",
        ["status"],
        504,
        bool(kept),
    )
    assert (entry.reply is not None) == bool(kept)


BILLING = {
    "consistent_level": "crash_consistent",
    "object_type": "server",
    "protect_type": "backup",
    "size": 100,
}


@pytest.mark.parametrize(("when", "kept"), [("before_commit", 0), ("after_commit", 1)])
async def test_a_cut_closes_the_connection_without_an_answer(
    http, payments: Caller, running, when, kept
):
    await order(http, "cut", match=CREATE, when=when)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        await payments.vault(servers=0)
    assert await count(payments) == kept
    entry = next(each for each in running.state.truth.entries() if each.operation == "CreateVault")
    assert (entry.status, entry.committed, entry.replied_at is not None) == (None, bool(kept), True)


async def test_truncated_garbage_and_raw_bodies_come_after_the_commit(http, payments: Caller):
    await order(http, "truncate", match=CREATE)
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
        await payments.vault(servers=0)
    await order(http, "garbage", match=CREATE)
    with pytest.raises(ValueError, match="codec can't decode"):
        await payments.vault(servers=0)
    await order(http, "raw", match=CREATE, body={"vault": {"id": 7}})
    assert await payments.vault(servers=0) == {"id": 7}
    assert await count(payments) == 3


async def test_a_redirect_points_elsewhere_before_the_commit(http, payments: Caller):
    await order(http, "redirect", match=CREATE, location="http://127.0.0.1:1/x")
    body = {"vault": {"name": "v", "billing": BILLING, "resources": []}}
    response = await http.post(f"/v3/{payments.project_id}/vaults", json=body)
    assert (response.status_code, response.headers["location"]) == (302, "http://127.0.0.1:1/x")
    assert await count(payments) == 0


async def test_delay_and_drip_take_their_time(
    http, payments: Caller, running: RunningEmulator, monkeypatch
):
    waited, sleep = [], asyncio.sleep
    monkeypatch.setattr(wire.asyncio, "sleep", lambda s: waited.append(s) or sleep(0))
    delay = await order(http, "delay", match={"operation": "ShowSummary"}, seconds=3600)
    await order(http, "drip", match={"operation": "ShowSummary"}, seconds=5, chunk_bytes=10)
    answer = asyncio.create_task(payments.ok("GET", "/vaults/summary"))
    while not (await control(http, "GET", "/faults"))["faults"][0]["struck"]:
        pass
    assert not answer.done()
    running.state.faults.release(delay)
    assert await answer == {"size": 0, "used_size": 0}
    assert waited.count(5) == 3


async def test_list_lag_hides_young_objects_from_lists_only(http, payments: Caller):
    vault = await payments.vault(servers=0)
    await order(http, "list_lag", match={"operation": "ListVault"}, seconds=60, times=None)
    assert await count(payments) == 0
    assert (await payments("GET", f"/vaults/{vault['id']}"))[0] == 200
    await control(http, "POST", "/clock", {"step_s": 61})
    assert await count(payments) == 1


@pytest.mark.parametrize(
    ("kind", "status", "backup_status"),
    [
        ("task_failed", "failed", "error"),
        ("task_timeout", "timeout", "error"),
        ("task_skipped", "skipped", None),
    ],
)
async def test_tasks_end_as_ordered(http, payments: Caller, kind, status, backup_status):
    vault = await payments.vault()
    await order(
        http,
        kind,
        match={"operation": "CreateCheckpoint"},
        code="BackupService.7102",
        message="stopped",
    )
    made = (await payments.ok("POST", "/checkpoints", {"checkpoint": {"vault_id": vault["id"]}}))[
        "checkpoint"
    ]
    log = (await payments.ok("GET", "/operation-logs"))["operation_logs"][0]
    assert (log["status"], log["error_info"]) == (
        status,
        {"code": "BackupService.7102", "message": "stopped"},
    )
    backups = (await payments.ok("GET", f"/backups?checkpoint_id={made['id']}"))["backups"]
    assert [each["status"] for each in backups] == ([backup_status] if backup_status else [])
    assert [each["code"] for each in made["vault"]["skipped_resources"]] == (
        [] if backup_status else ["BackupService.7102"]
    )


async def test_faults_strike_only_what_they_match_and_when(
    http, payments: Caller, databases: Caller
):
    match = {"method": "GET", "path": "/v3/{project_id}/vaults", "project_id": payments.project_id}
    await order(http, "status", match=match, nth=2, times=2)
    assert [(await payments("GET", "/vaults"))[0] for _ in range(4)] == [200, 503, 503, 200]
    assert (await databases("GET", "/vaults"))[0] == 200
    assert (await control(http, "GET", "/faults"))["faults"][0]["struck"] == 2


async def test_probability_is_seeded(http, payments: Caller):
    async def pattern() -> list[int]:
        await control(http, "POST", "/reset")
        await order(http, "status", match={"operation": "ShowSummary"}, probability=0.5, times=None)
        return [(await payments("GET", "/vaults/summary"))[0] for _ in range(12)]

    first = await pattern()
    assert set(first) == {200, 503}
    assert await pattern() == first


async def test_faults_can_be_taken_back(http, payments: Caller):
    fault_id = await order(http, "status", times=None)
    await control(http, "DELETE", f"/faults/{fault_id}")
    assert (await payments("GET", "/vaults"))[0] == 200
    assert (await http.delete(f"/_emulator/faults/{fault_id}")).status_code == 404


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (
            "CreateVualt",
            "match.operation CreateVualt is not an operation; did you mean CreateVault?",
        ),
        (
            "zzz",
            "match.operation zzz is not an operation; it is the vendor's name, such as CreateVault",
        ),
    ],
)
async def test_a_fault_for_an_unknown_operation_is_refused(http, operation, text):
    reply = await http.post(
        "/_emulator/faults", json={"kind": "cut", "match": {"operation": operation}}
    )
    assert (reply.status_code, reply.json()) == (400, {"error": text})


@pytest.mark.parametrize(
    "operation", ["RunPolicy", "KeystoneCreateUserTokenByPassword", "ShowSummary"]
)
async def test_every_operation_can_be_struck(http, operation):
    await order(http, "status", match={"operation": operation})


@pytest.mark.parametrize(
    "bad", [{"kind": "boom"}, {"kind": "cut", "when": "later"}, {"kind": "cut", "tims": 1}, {}]
)
async def test_a_misspelled_fault_is_refused(http, bad):
    assert (await http.post("/_emulator/faults", json=bad)).status_code == 400
