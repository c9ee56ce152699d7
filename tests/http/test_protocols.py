"""Connect, gRPC-Web and Server-Sent Events on the wire."""

import asyncio
import base64
import json

import pytest
from cbrgateway.v1 import task_pb2, vault_pb2
from google.rpc import error_details_pb2, status_pb2

from tests.functional.calls import until
from tests.http.conftest import details
from tests.http.frames import envelope, envelopes, trailers

LIST, WATCH = "cbrgateway.v1.VaultService/ListVaults", "cbrgateway.v1.TaskService/WatchTasks"
ENDS = {"endWhenAllTerminal": True}


def as_(form: str, **more: str) -> dict[str, str]:
    return {"content-type": f"application/{form}", **more}


async def test_connect_in_bytes(http):
    request = vault_pb2.ListVaultsRequest(page_size=1).SerializeToString()
    answer = await http.post(LIST, content=request, headers=as_("proto"))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/proto")
    vault_pb2.ListVaultsResponse.FromString(answer.content)
    wrong = await http.post(LIST, content=b"\xff", headers=as_("proto"))
    assert wrong.status_code == 400
    assert "the bytes are not a ListVaultsRequest" in wrong.json()["message"]


@pytest.mark.parametrize("form", ["grpc-web", "grpc-web+proto", "grpc-web+json"])
async def test_grpc_web(http, form):
    request = b"{}" if form.endswith("json") else vault_pb2.ListVaultsRequest().SerializeToString()
    answer = await http.post(LIST, content=envelope(request), headers=as_(form))
    (_, data), (flags, end) = envelopes(answer.content)
    assert flags == 0x80
    assert trailers(end)["grpc-status"] == "0"
    assert trailers(end)["x-request-id"] == answer.headers["x-request-id"]
    if form.endswith("json"):
        json.loads(data)
    else:
        vault_pb2.ListVaultsResponse.FromString(data)


async def test_errors_of_grpc_web_have_their_details(http):
    answer = await http.post(LIST, content=envelope(b""), headers=as_("grpc-web", authorization=""))
    ((flags, end),) = envelopes(answer.content)
    told = trailers(end)
    assert (answer.status_code, flags, told["grpc-status"]) == (200, 0x80, "16")
    packed = told["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(packed + "=" * (-len(packed) % 4)))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "CREDENTIALS_INVALID"


@pytest.mark.parametrize("form", ["connect+json", "connect+proto", "grpc-web", "json"])
async def test_a_stream_of_tasks_to_its_end(http, form):
    """It ends, since nothing is under way."""
    request = task_pb2.WatchTasksRequest(end_when_all_terminal=True).SerializeToString()
    content = json.dumps(ENDS).encode() if form.endswith("json") else request
    content = content if form == "json" else envelope(content)
    answer = await http.post(WATCH, content=content, headers=as_(form))
    assert answer.status_code == 200, answer.text
    if form == "json":
        events = answer.text.removesuffix("\n\n").split("\n\n")
        assert events[-1].startswith("event: end\ndata: {")
        assert "snapshotEnd" in json.loads(events[0].removeprefix("data: "))
        return
    *messages, (flags, end) = envelopes(answer.content)
    assert messages
    if form == "grpc-web":
        assert (flags, trailers(end)["grpc-status"]) == (0x80, "0")
    else:
        assert (flags, "error" in json.loads(end)) == (2, False)


async def test_a_stream_of_connect_that_is_refused_says_so_at_its_end(http):
    answer = await http.post(
        WATCH, content=envelope(b'{"nonsense": 1}'), headers=as_("connect+json")
    )
    ((flags, end),) = envelopes(answer.content)
    error = json.loads(end)["error"]
    assert (answer.status_code, flags, error["code"]) == (200, 2, "invalid_argument")
    assert details(error)["BadRequest"]["fieldViolations"][0]["field"] == "nonsense"


async def test_events_that_are_refused_are_an_answer_like_others(http):
    answer = await http.post(WATCH, json={"nonsense": 1})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert details(answer.json())["ErrorInfo"]["reason"] == "FIELD_INVALID"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "zero messages"),
        (envelope(b"{}") * 2, "multiple messages"),
        (b"{}", "incomplete envelope"),
        (envelope(b"{}")[:-1], "promised 2 bytes"),
        (envelope(b"{}", 1), "compress"),
        (envelope(b"{}", 0x40), "envelope flags"),
    ],
)
async def test_envelopes_that_are_wrong_are_the_error_of_the_call(http, content, says):
    answer = await http.post(WATCH, content=content, headers=as_("connect+json"))
    ((_, end),) = envelopes(answer.content)
    error = json.loads(end)["error"]
    assert says in error["message"]
    assert "send JSON with content-type application/json" in error["message"]
    assert details(error)["ErrorInfo"]["reason"] == "FIELD_INVALID"


@pytest.mark.parametrize("form", ["connect+json", "grpc-web"])
async def test_an_rpc_that_does_not_exist_is_refused_as_a_stream_as_well(http, form):
    answer = await http.post(
        "cbrgateway.v1.TaskService/WatchTask", content=envelope(b""), headers=as_(form)
    )
    assert "WatchTasks" in answer.text


async def test_who_leaves_a_stream_ends_its_call(http, world):
    in_flight = world.app.servers.in_flight
    async with http.stream("POST", WATCH, json={}) as stream:
        async for line in stream.aiter_lines():
            assert line.startswith("data: {")
            break
        assert in_flight.number == 1
    await until(lambda: not in_flight.number)


async def test_a_backup_is_watched_by_events_to_its_end(http):
    servers = await http.post(
        "cbrgateway.v1.ProtectabilityService/ListProtectables",
        json={"protectableType": "PROTECTABLE_TYPE_SERVER"},
    )
    server = next(each for each in servers.json()["instances"] if each["protectable"]["result"])
    billing = {
        "sizeGib": 200,
        "objectType": "OBJECT_TYPE_SERVER",
        "protectType": "PROTECT_TYPE_BACKUP",
        "consistentLevel": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
    }
    held = [{"id": server["id"], "type": server["type"]}]
    made = await http.post(
        "cbrgateway.v1.VaultService/CreateVault",
        json={"vault": {"name": "watched", "billing": billing, "resources": held}},
    )
    vault = made.json()["vault"]["id"]
    started = await http.post(
        "cbrgateway.v1.CheckpointService/CreateCheckpoint", json={"checkpoint": {"vaultId": vault}}
    )
    assert started.status_code == 200, started.text
    wanted = {"filter": {"vaultId": vault}, **ENDS}
    async with http.stream("POST", WATCH, json=wanted) as stream:
        lines = [line async for line in stream.aiter_lines() if line.startswith("data: {")]
    assert any("terminal" in json.loads(line.removeprefix("data: ")) for line in lines)


async def test_a_call_is_refused_before_its_request_is_read(http, world):
    """Its head is all that is sent."""
    host, _, port = world.app.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /cbrgateway.v1.VaultService/ListVaults HTTP/1.1\r\nhost: x\r\n"
        b"content-type: application/json\r\ncontent-length: 100\r\n\r\n"
    )
    assert b"401 Unauthorized" in await asyncio.wait_for(reader.readline(), 60)
    writer.close()
