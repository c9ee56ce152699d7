"""What the listener answers by itself: JSON of the one form that the OpenAPI document has."""

import asyncio
import json

import httpx
import jsonschema
import pytest

from gateway.http.openapi import document
from gateway.operations import load_catalog
from tests.harness import running_gateway
from tests.http.conftest import details

LIST = "/cbrgateway.v1.VaultService/ListVaults"
WATCH = "/cbrgateway.v1.TaskService/WatchTasks"
DOCUMENT = document(load_catalog())
ERROR = jsonschema.Draft202012Validator(DOCUMENT["components"]["schemas"]["Error"])
KEY = "authorization: Bearer key-of-payments"
JSON = "content-type: application/json"
BIG = "x-padding: " + "x" * 40_000


def case(line, *headers, status, reason, said, body=b"{}"):
    """A request, and what is answered."""
    return line, headers, body, status, reason, said


ANSWERS = {
    "nothing": case("GET /", status=404, reason="UNIMPLEMENTED", said="calls are POST"),
    "a path of CBR": case("POST /v3/a", JSON, status=404, reason="UNIMPLEMENTED", said="POST"),
    "a question about nothing": case(
        "OPTIONS /", status=404, reason="UNIMPLEMENTED", said="calls are POST"
    ),
    "a call by GET": case(f"GET {LIST}", status=405, reason="UNIMPLEMENTED", said="with POST"),
    "a call by PUT": case(f"PUT {LIST}", JSON, status=405, reason="UNIMPLEMENTED", said="POST"),
    "a call by DELETE": case(f"DELETE {LIST}", status=405, reason="UNIMPLEMENTED", said="POST"),
    "the document by POST": case(
        "POST /openapi.json", JSON, status=405, reason="UNIMPLEMENTED", said="read with GET"
    ),
    "no content-type": case(
        f"POST {LIST}", status=415, reason="METADATA_INVALID", said="application/json"
    ),
    "a form": case(
        f"POST {LIST}",
        "content-type: application/x-www-form-urlencoded",
        status=415,
        reason="METADATA_INVALID",
        said="application/json",
    ),
    "one content-type of two": case(
        f"POST {WATCH}",
        JSON,
        "content-type: application/connect+json",
        status=400,
        reason="METADATA_INVALID",
        said="send one",
    ),
    "too large a head": case(
        f"POST {LIST}", JSON, BIG, status=431, reason="METADATA_INVALID", said="send less"
    ),
    "a deadline in words": case(
        f"POST {LIST}",
        JSON,
        "connect-timeout-ms: 5s",
        status=400,
        reason="METADATA_INVALID",
        said="such as 5000",
    ),
    "another protocol's version": case(
        f"POST {LIST}",
        JSON,
        "connect-protocol-version: 9",
        status=400,
        reason="METADATA_INVALID",
        said="must be 1",
    ),
    "a compressed request": case(
        f"POST {LIST}",
        JSON,
        "content-encoding: gzip",
        status=400,
        reason="METADATA_INVALID",
        said="leave content-encoding out",
    ),
    "no HTTP": case(
        "nonsense", status=400, reason="METADATA_INVALID", said="no request of HTTP/1.1"
    ),
    "no length": case(
        f"POST {LIST}",
        JSON,
        "content-length: x",
        status=400,
        reason="METADATA_INVALID",
        said="no request of HTTP/1.1",
    ),
    "no time": case(
        f"POST {LIST}", JSON, KEY, "connect-timeout-ms: 1", status=504, reason="", said="the call"
    ),
    "no such RPC": case(
        f"POST {LIST}x", JSON, KEY, status=501, reason="UNIMPLEMENTED", said="did you mean"
    ),
    "no key": case(f"POST {LIST}", JSON, status=401, reason="CREDENTIALS_INVALID", said="send"),
}


async def asked(world, line, headers, body):
    """Status, headers and body of the answer."""
    host, _, port = world.app.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    ours = (
        []
        if any("content-length" in each for each in headers)
        else [f"content-length: {len(body)}"]
    )
    lines = [f"{line} HTTP/1.1", "host: gateway", "connection: close", *headers, *ours]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    head, _, told = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *rest = head.decode().split("\r\n")
    return int(status.split()[1]), dict(each.lower().split(": ", 1) for each in rest), told


@pytest.mark.parametrize(
    ("line", "headers", "body", "status", "reason", "said"), ANSWERS.values(), ids=[*ANSWERS]
)
async def test_it_has_one_form(world, *, line, headers, body, status, reason, said):
    got, told, answer = await asked(world, line, headers, body)
    assert (got, told["content-type"]) == (status, "application/json")
    found = json.loads(answer)
    ERROR.validate(found)
    assert said in found["message"]
    shown = details(found)
    if reason:
        info = shown["ErrorInfo"]
        assert (info["reason"], info["domain"]) == (reason, "cbrgateway")
    if "x-request-id" not in told:
        assert shown["Help"]["links"][0]["url"] == "/openapi.json"
    assert (status == 405) == ("allow" in told)


async def test_a_head_that_does_not_end_is_answered_so_too(world):
    host, _, port = world.app.http_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {LIST} HTTP/1.1\r\n{BIG}".encode())
    head, _, told = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 431 ")
    assert details(json.loads(told))["ErrorInfo"]["reason"] == "METADATA_INVALID"


async def test_a_connection_without_room_is_answered_so_too():
    sections = {"http": {"listen": "127.0.0.1:0"}}
    async with running_gateway(
        server={"limits": {"max_connections": 2}}, sections=sections
    ) as world:
        base = f"http://{world.app.http_address}"
        held = [httpx.AsyncClient(base_url=base) for _ in range(2)]
        for each in held:
            assert (await each.get("/openapi.json")).status_code == 200
        async with httpx.AsyncClient(base_url=base) as late:
            refused = await late.get("/openapi.json")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert details(refused.json())["ErrorInfo"]["reason"] == "OVERLOADED"
        assert (await held[0].get("/openapi.json")).status_code == 200
        for each in held:
            await each.aclose()


def test_the_document_has_what_ends_a_request_before_it_is_a_call():
    for path in DOCUMENT["paths"].values():
        assert {"415", "431", "default"} <= path["post"]["responses"].keys()
