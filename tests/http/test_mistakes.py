"""The mistakes that everybody makes once, by a real curl: each answer says what to do next."""

import asyncio
import json
import shutil

import pytest
from google.protobuf import json_format

from gateway.http.errors import deadline_passed
from gateway.operations import load_catalog
from tests.functional.calls import arrived, order, until
from tests.http.conftest import details
from tests.http.test_json import BILLING

CURL = shutil.which("curl")
KEY, JSON = "authorization: Bearer key-of-payments", "content-type: application/json"
LIST, CREATE = "/cbrgateway.v1.VaultService/ListVaults", "/cbrgateway.v1.VaultService/CreateVault"
CATALOG = load_catalog()
VAULT = {"vault": {"name": "late", "billing": BILLING}}

pytestmark = pytest.mark.skipif(CURL is None, reason="curl is not installed")


async def curl(world, path, body, *headers, **more):
    """Status and answer."""
    assert CURL is not None
    given = [part for each in headers for part in ("-H", each)]
    data = [] if body is None else ["-d", json.dumps(body)]
    command = [CURL, "-s", "-w", "\n%{http_code}", *given, *data]
    process = await asyncio.create_subprocess_exec(
        *command, f"http://{world.app.http_address}{path}", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    text, _, status = out.decode().rpartition("\n")
    return int(status), json.loads(text)


MISTAKES = {
    "no key": (LIST, {}, (JSON,), 401, "send the metadata entry 'authorization: Bearer"),
    "wrong key": (LIST, {}, (JSON, "authorization: Bearer wrong"), 401, "ask this gateway's"),
    "a key alone": (LIST, {}, (JSON, "authorization: wrong"), 401, "the form 'Bearer"),
    "wrong project": (LIST, {}, (JSON, KEY, "x-cbr-project-id: x"), 403, "x-cbr-project-id"),
    "no content-type": (LIST, {}, (KEY,), 415, "is one of application/json"),
    "an RPC that there is not": (LIST[:-1], {}, (KEY, JSON), 501, "did you mean VaultService/List"),
    "a path of CBR": ("/v3/p/vaults", None, (KEY,), 404, "POST /cbrgateway.v1.<Service>/<RPC>"),
    "no package": (
        LIST.replace("cbrgateway.v1.", ""),
        {},
        (KEY, JSON),
        404,
        "POST /cbrgateway.v1.<Service>/<RPC>",
    ),
    "a change by GET": (CREATE, None, (KEY,), 405, "POST"),
    "a number that is too large": (
        LIST,
        {"page_size": 2**31},
        (KEY, JSON),
        400,
        "page_size: must be a whole number from -2147483648 to 2147483647",
    ),
    "a deadline in words": (LIST, {}, (KEY, JSON, "connect-timeout-ms: 5s"), 400, "such as 5000"),
    "a deadline of gRPC-Web in words": (
        LIST,
        {},
        (KEY, "content-type: application/grpc-web+proto", "grpc-timeout: 5x"),
        400,
        "such as 5S",
    ),
    "too short a deadline": (LIST, {}, (KEY, JSON, "connect-timeout-ms: 200"), 504, "at least 400"),
}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "said"), MISTAKES.values(), ids=[*MISTAKES]
)
async def test_each_answer_says_what_to_do(world, *, path, body, headers, status, said):
    got, answer = await curl(world, path, body, *headers)
    assert (got, said in answer["message"]) == (status, True), answer


async def test_all_fields_that_are_missing_are_named(world):
    status, answer = await curl(world, CREATE, {"vault": {"billing": {}}}, KEY, JSON)
    fields = {each["field"] for each in details(answer)["BadRequest"]["fieldViolations"]}
    assert status == 400
    assert fields >= {"vault.name", "vault.billing.object_type", "vault.billing.size_gib"}


@pytest.mark.parametrize(
    ("request_id", "said"), [("once-1", "request_id"), ("", "read the object")]
)
async def test_a_deadline_that_cbr_does_not_keep_is_told_in_time(world, request_id, said):
    """Just before it passes, so that the caller hears what became of the change."""
    held = order(world, "delay", "VaultService/CreateVault", seconds=60)
    before = len(arrived(world, "VaultService/CreateVault"))
    wanted = VAULT | ({"request_id": request_id} if request_id else {})
    _, answer = await curl(world, CREATE, wanted, KEY, JSON, "connect-timeout-ms: 1500")
    assert details(answer)["ErrorInfo"]["reason"] == "OUTCOME_UNKNOWN"
    assert said in answer["message"]
    world.emulator.state.faults.release(held)
    await until(lambda: arrived(world, "VaultService/CreateVault")[before].committed)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (VAULT | {"request_id": "once-2"}, "same request_id, once-2:"),
        (VAULT, "Look before you repeat it"),
    ],
    ids=["with a request_id", "without"],
)
async def test_a_deadline_of_a_change_says_how_to_repeat_it(body, said):
    kind = CATALOG.bindings["VaultService/CreateVault"]
    request = json_format.ParseDict(body, kind.request_type())
    assert said in deadline_passed(kind, request).message


@pytest.mark.parametrize("milliseconds", ["1", "2", "4", "8"])
async def test_a_deadline_that_passes_at_any_moment_is_an_answer(http, milliseconds):
    for rpc, body in ((CREATE, VAULT), (LIST, {})):
        late = await http.post(rpc, json=body, headers={"connect-timeout-ms": milliseconds})
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded"), late.text
