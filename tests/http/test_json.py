"""Calls as JSON over HTTP: what `curl` sends and sees."""

import asyncio
import base64
import json
import shutil

import httpx
import pytest
from cbrgateway.v1 import vault_pb2, vault_pb2_grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2

from gateway.errors import GatewayError
from gateway.http.json_form import from_json
from tests.functional.calls import CATALOG, until
from tests.harness import World
from tests.http.conftest import PAGE, details

BILLING = {
    "sizeGib": 100,
    "objectType": "OBJECT_TYPE_SERVER",
    "protectType": "PROTECT_TYPE_BACKUP",
    "consistentLevel": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
}


async def test_a_vault_made_over_http_is_the_one_that_grpc_shows(world: World, http):
    made = await http.post(
        "cbrgateway.v1.VaultService/CreateVault",
        json={"vault": {"name": "by-json", "billing": BILLING}},
    )
    assert made.status_code == 200, made.text
    assert made.headers["x-request-id"] == made.headers["trailer-x-request-id"]
    vault = made.json()["vault"]
    shown = await world.stub(vault_pb2_grpc.VaultServiceStub).GetVault(
        vault_pb2.GetVaultRequest(vault_id=vault["id"]), metadata=world.metadata()
    )
    assert json_format.MessageToDict(shown.vault)["name"] == vault["name"] == "by-json"


async def test_names_of_the_proto_are_taken_as_well(http):
    answer = await http.post("cbrgateway.v1.VaultService/ListVaults", json={"page_size": 1})
    assert answer.status_code == 200, answer.text


LIST = "cbrgateway.v1.VaultService/ListVaults"


@pytest.mark.parametrize("name", ["readMask", "read_mask"])
@pytest.mark.parametrize(
    "paths", ["id,billing.sizeGib", "id,billing.size_gib", " id , billing.sizeGib"]
)
async def test_a_mask_has_names_of_json_or_of_the_proto(world: World, http, name, paths):
    spec = {"name": "masked", "billing": BILLING}
    await http.post("cbrgateway.v1.VaultService/CreateVault", json={"vault": spec})
    answer = await http.post(LIST, json={name: paths, "filter": "name = masked"})
    assert answer.status_code == 200, answer.text
    row = answer.json()["vaults"][0]
    assert row.keys() - {"etag"} == {"id", "billing"}
    assert row["billing"] == {"sizeGib": 100}


@pytest.mark.parametrize(
    ("mask", "path", "told"),
    [
        (
            "id,billing.sizeGiB",
            "read_mask.paths[1]",
            "billing.sizeGiB: there is no field `sizeGiB`",
        ),
        ("bill_ing", "read_mask.paths[0]", "bill_ing: there is no field `bill_ing`"),
        ("id,,name", "read_mask.paths[1]", "there is no field ``"),
        ("Id", "read_mask.paths[0]", "Id: there is no field `Id`"),
        ("tags.key", "read_mask.paths[0]", "`tags` is a list"),
        ("", "read_mask", "names no field"),
        (["id"], "read_mask", "paths separated by commas"),
        ({"paths": ["id"]}, "read_mask", "paths separated by commas"),
        (7, "read_mask", "paths separated by commas"),
    ],
    ids=str,
)
async def test_a_mask_of_what_is_not_there_names_the_path(http, mask, path, told):
    answer = await http.post(LIST, json={"readMask": mask})
    assert answer.status_code == 400
    shown = details(answer.json())
    assert [each["field"] for each in shown["BadRequest"]["fieldViolations"]] == [path]
    assert told in answer.json()["message"]


@pytest.mark.parametrize(
    ("rpc", "wish", "path"),
    [
        (LIST, {"readMask": "id", "read_mask": "id"}, "read_mask"),
        (LIST, {"pageSize": 1, "page_size": 2}, "page_size"),
        (
            "cbrgateway.v1.VaultService/UpdateVault",
            {"vaultId": "v", "vault": {"billing": {"sizeGib": 1, "size_gib": 2}}},
            "vault.billing.size_gib",
        ),
    ],
    ids=["mask", "number", "inside"],
)
async def test_a_field_by_both_of_its_names_is_refused(http, rpc, wish, path):
    answer = await http.post(rpc, json=wish)
    assert answer.status_code == 400
    shown = details(answer.json())
    assert [each["field"] for each in shown["BadRequest"]["fieldViolations"]] == [path]


async def test_other_mistakes_are_told_beside_a_mask_of_the_proto_s_names(http):
    answer = await http.post(LIST, json={"readMask": "billing.size_gib", "pageSize": "many"})
    shown = details(answer.json())
    assert [each["field"] for each in shown["BadRequest"]["fieldViolations"]] == ["page_size"]


@pytest.mark.parametrize("names", [("billing.sizeGib", "createTime"), ("billing.size_gib", "name")])
async def test_filters_and_orders_have_names_of_json_or_of_the_proto(http, names):
    field, order = names
    wish = {"filter": f"{field} = 100", "orderBy": f"{order} desc"}
    answer = await http.post(LIST, json=wish)
    assert answer.status_code == 200, answer.text


async def test_curl_makes_a_call(world: World):
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    process = await asyncio.create_subprocess_exec(
        curl,
        *("-s", "-H", "authorization: Bearer key-of-payments"),
        *(
            "-H",
            "content-type: application/json",
            "-d",
            '{"protectableType": "PROTECTABLE_TYPE_SERVER"}',
        ),
        f"http://{world.app.http_address}/cbrgateway.v1.ProtectabilityService/ListProtectables",
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert json.loads(out)["instances"]


@pytest.mark.parametrize(
    ("headers", "status", "code", "reason"),
    [
        ({"authorization": ""}, 401, "unauthenticated", "CREDENTIALS_INVALID"),
        ({"authorization": "Bearer wrong"}, 401, "unauthenticated", "CREDENTIALS_INVALID"),
        ({"x-cbr-project-id": "of-another"}, 403, "permission_denied", "PROJECT_DENIED"),
    ],
)
async def test_who_calls_is_told_by_the_headers_that_grpc_calls_metadata(
    http, headers, status, code, reason
):
    answer = await http.post("cbrgateway.v1.VaultService/ListVaults", json={}, headers=headers)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (status, code)
    shown = details(body)
    assert shown["ErrorInfo"]["reason"] == reason
    assert shown["ErrorInfo"]["metadata"]["requestId"] == answer.headers["x-request-id"]


async def test_two_credentials_in_one_call_are_refused(http):
    twice = [("authorization", "Bearer key-of-payments"), ("authorization", "Bearer other")]
    request = httpx.Request(
        "POST", f"{http.base_url}/cbrgateway.v1.VaultService/ListVaults", json={}
    )
    request.headers = httpx.Headers([*request.headers.items(), *twice])
    answer = await http.send(request)
    assert details(answer.json())["ErrorInfo"]["reason"] == "METADATA_INVALID"


async def test_every_wrong_field_is_named_and_the_bytes_say_the_same(http):
    vault = {"nam": "x", "billing": {"sizeGib": "many", "objectType": "BOAT"}, "tags": [{"kee": 1}]}
    answer = await http.post(
        "cbrgateway.v1.VaultService/CreateVault", json={"vault": vault, "vailt": 1}
    )
    body = answer.json()
    assert (answer.status_code, body["code"]) == (400, "invalid_argument")
    shown = details(body)
    violations = {each["field"]: each["reason"] for each in shown["BadRequest"]["fieldViolations"]}
    assert violations == {
        "vault.nam": "unknown_field",
        "vault.billing.size_gib": "encoding",
        "vault.billing.object_type": "encoding",
        "vault.tags[0].kee": "unknown_field",
        "vailt": "unknown_field",
    }
    assert "vault.nam" in body["message"]
    packed = next(each for each in body["details"] if each["type"] == "google.rpc.BadRequest")
    value = packed["value"]
    decoded = error_details_pb2.BadRequest.FromString(
        base64.b64decode(value + "=" * (-len(value) % 4))
    )
    assert len(decoded.field_violations) == len(violations)


@pytest.mark.parametrize("value", [True, False, 1.5, "1", "x", [], {}])
async def test_only_a_value_of_an_enum_is_one(http, value):
    """protobuf's own reader makes numbers of some of them."""
    for rpc, request, field in (
        ("VaultService/ListVaults", {"status": value}, "status"),
        (
            "VaultService/CreateVault",
            {"vault": {"name": "x", "billing": BILLING | {"objectType": value}}},
            "vault.billing.object_type",
        ),
    ):
        answer = await http.post(f"cbrgateway.v1.{rpc}", json=request)
        assert answer.status_code == 400, answer.text
        violations = details(answer.json())["BadRequest"]["fieldViolations"]
        assert [(each["field"], each["reason"]) for each in violations] == [(field, "encoding")]


async def test_the_proto_s_rules_hold(http):
    answer = await http.post("cbrgateway.v1.VaultService/GetVault", json={})
    shown = details(answer.json())
    assert [each["field"] for each in shown["BadRequest"]["fieldViolations"]] == ["vault_id"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"vaultId": NaN}',
        b"\xff\xfe{}",
        b'{"a":1,"a":2}',
        b"[" * 90_000,
    ],
)
async def test_a_body_that_is_no_object_is_refused(http, body):
    answer = await http.post(
        "cbrgateway.v1.VaultService/GetVault",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert "send {} for no fields" in answer.json()["message"]


async def test_an_rpc_that_does_not_exist_is_answered_with_a_hint(http):
    answer = await http.post("cbrgateway.v1.VaultService/ListVault", json={})
    assert answer.status_code == 501
    assert "did you mean VaultService/ListVaults?" in answer.json()["message"]
    assert details(answer.json())["ErrorInfo"]["reason"] == "UNIMPLEMENTED"


async def test_what_is_no_call_is_refused_in_the_same_form(http, world: World):
    get = await http.get("cbrgateway.v1.VaultService/ListVaults")
    assert (get.status_code, get.headers["allow"]) == (405, "POST")
    text = await http.post("cbrgateway.v1.VaultService/ListVaults", content=b"{}")
    assert text.status_code == 415
    assert "application/json" in text.json()["message"]
    away = await http.post(f"http://{world.app.http_address}/else", json={})
    assert (away.status_code, away.json()["code"]) == (404, "unimplemented")


async def test_a_request_that_is_too_large_is_not_read_to_its_end(http):
    answer = await http.post("cbrgateway.v1.VaultService/GetVault", json={"vaultId": "x" * 200_000})
    assert answer.status_code == 400
    assert "more than 131072 bytes" in answer.json()["message"]
    shown = details(answer.json())
    assert shown["BadRequest"]["fieldViolations"][0]["reason"] == "max_bytes"


async def test_a_deadline_ends_the_call(http, world: World):
    """A stream goes on for ever otherwise."""
    late = await http.post(
        "cbrgateway.v1.TaskService/WatchTasks", json={}, headers={"connect-timeout-ms": "300"}
    )
    assert "STREAM_END_REASON_DEADLINE" in late.text
    await until(lambda: world.app.servers.in_flight.number == 0)


async def test_pages_of_listed_origins_may_call_and_no_others(http):
    def asks(origin: str) -> dict[str, str]:
        return {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }

    allowed = await http.options("cbrgateway.v1.VaultService/ListVaults", headers=asks(PAGE))
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    other = await http.options(
        "cbrgateway.v1.VaultService/ListVaults", headers=asks("https://evil.example")
    )
    assert "access-control-allow-origin" not in other.headers
    called = await http.post(
        "cbrgateway.v1.VaultService/ListVaults", json={}, headers={"origin": PAGE}
    )
    assert called.headers["access-control-allow-origin"] == PAGE
    refused = await http.post(
        "cbrgateway.v1.VaultService/ListVaults",
        json={},
        headers={"origin": PAGE, "authorization": ""},
    )
    assert refused.headers["access-control-allow-origin"] == PAGE


def objects(kind, path=()):
    """The fields that hold one message of ours, by their way from the request."""
    for fd in kind.fields:
        inner = fd.message_type
        if inner is not None and inner.full_name.startswith("cbrgateway.") and len(path) < 4:
            if not fd.is_repeated:
                yield (*path, fd)
            yield from objects(inner, (*path, fd))


def nested(path, value):
    for fd in reversed(path):
        value = {fd.json_name: [value] if fd.is_repeated else value}
    return value


@pytest.mark.parametrize("wrong", [[], "", 0, False], ids=repr)
def test_nothing_but_an_object_is_taken_for_one(wrong):
    """protobuf makes an empty message of whatever it can look through and find empty."""
    tried = 0
    for binding in CATALOG.bindings.values():
        for path in objects(binding.request_type.DESCRIPTOR):
            with pytest.raises(GatewayError) as refused:
                from_json(json.dumps(nested(path, wrong)).encode(), binding.request_type)
            named = {each.subject.rpartition(".")[2] for each in refused.value.violations}
            assert named == {path[-1].name}
            assert "must be an object" in refused.value.message
            tried += 1
    assert tried > 100
