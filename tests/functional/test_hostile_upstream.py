"""An upstream that is not CBR, or CBR gone mad: the caller gets a mapped error in time, never a
success that is none.
"""

import asyncio
import gzip
import json
from dataclasses import dataclass

import pytest

from emulator.settings import PAYMENTS_PROJECT_ID
from gateway.upstream.http import MAX_BODY_BYTES
from tests.counting import counted_steps
from tests.functional import stage
from tests.functional.calls import REQUESTS, Failure, forget, gateway_before, told
from tests.unit.upstream.raw_server import always, answer, raw_server

READ, CREATE = "VaultService/GetVault", "VaultService/CreateVault"
GOOD = {"id": "v", "name": "n", "billing": {"size": 100}}


def body(text):
    return answer(text if isinstance(text, bytes) else text.encode())


def bomb(start):
    """A little that becomes more than the gateway reads of an answer."""
    return gzip.compress(start + b" " * (MAX_BODY_BYTES + 2_000_000) + b'"}', 1)


def vault(**changes):
    return body(json.dumps({"vault": GOOD | changes}))


ANSWERS = {
    "deep": body('{"vault":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "deep objects": body('{"a":' * 100_000 + "1" + "}" * 100_000),
    "just too deep for anybody": body('{"vault":' + '{"x":' * 33 + "1" + "}" * 34),
    "an id that is no text": body('{"vault":{"id":"\\ud800","name":"n"}}'),
    "an id out of range": body('{"vault":{"id":1e999,"name":"n"}}'),
    "two documents": body('{"vault":{}}{"vault":{}}'),
    "null": body("null"),
    "a list": body("[]"),
    "a word": body('"ok"'),
    "HTML": body("<html>Login</html>"),
    "no HTTP": b"\x16\x03\x01\x00\x05hello\r\n\r\n",
    "wrong length": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 500\r\n\r\n{}",
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "unknown encoding": answer(b"{}", headers="Content-Encoding: br\r\n"),
    "gzip that is none": answer(b"{}", headers="Content-Encoding: gzip\r\n"),
    "gzip bomb": answer(bomb(b'{"a":"'), headers="Content-Encoding: gzip\r\n"),
}
DRIFTED = {
    "2^64": vault(billing={"size": 2**64}),
    "2^31 for an int32": vault(billing={"size": 2**31}),
    "a fraction for a size": vault(billing={"size": 1.5}),
    "bool for a size": vault(billing={"size": True}),
    "text for a size": vault(billing={"size": "many"}),
    "list for an object": vault(billing=[]),
    "object for a list": vault(resources={"a": 1}),
    "number for an id": vault(id=7),
    "a time without sense": vault(created_at="soon"),
    "a tag that is none": vault(tags=[{"key": "k"}, 7]),
    "NaN": body('{"vault":{"id":"v","billing":{"size":NaN}}}'),
    "Infinity": body('{"vault":{"id":"v","billing":{"size":Infinity}}}'),
    "1e999": body('{"vault":{"id":"v","billing":{"size":1e999}}}'),
    "5000 digits": body('{"vault":{"id":"v","billing":{"size":' + "9" * 5000 + "}}}"),
    "lone surrogate": body('{"vault":{"id":"v","name":"\\ud800"}}'),
    "lone surrogate in a key": body('{"vault":{"id":"v","\\ud800":1}}'),
    "lone surrogate among tags": body('{"vault":{"id":"v","tags":[{"key":"\\ud800"}]}}'),
    "broken UTF-8": body(b'{"vault":{"id":"v","name":"\xff"}}'),
    "a line break in text": body('{"vault":{"id":"v","name":"a\nb"}}'),
    "too deep": body('{"vault":{"id":"v","x":' + "[" * 33 + "]" * 33 + "}}"),
    "byte order mark": body(b"\xef\xbb\xbf" + json.dumps({"vault": GOOD}).encode()),
    "UTF-16": body(json.dumps({"vault": GOOD}).encode("utf-16")),
    "the same key with the same value": body('{"vault":{"id":"v","name":"n","id":"v"}}'),
}
"""One member is not what CBR's description says; the rest is as good as ever."""
CONTRADICTORY = {
    "equal keys": body('{"vault":{"id":"mine","id":"other","name":"n"}}'),
    "equal keys apart": body('{"vault" : {"id" : "mine", "name":"n", "id" : "other"}}'),
    "two verdicts": body('{"orders":[{"orderId":"CS1"}],"retCode":0,"retCode":"CBC.0156"}'),
    "two vaults": body('{"vault":{"id":"mine"},"vault":{"id":"other"}}'),
}
"""The answer to a read is taken as most readers do: the last value counts."""
every_answer = pytest.mark.parametrize("name", ANSWERS)


@dataclass
class Liar:
    """An upstream that answers every request with `content`, then closes, so that an answer that
    never ends does.
    """

    content: bytes = b""

    async def __call__(self, connection):
        if await connection.request() is not None:
            await connection.send(self.content)


@pytest.fixture(scope="module")
async def shared_liar():
    liar = Liar()
    async with raw_server(liar) as upstream, gateway_before(upstream.origin) as (app, anyone):
        yield liar, upstream, app, anyone


@pytest.fixture
def lied_to(shared_liar):
    """Sets the answer; gives the server that shows what arrived, and a caller."""
    liar, upstream, app, anyone = shared_liar
    forget(app)
    upstream.requests.clear()

    def answering(content):
        liar.content = content
        return upstream, anyone

    return answering


@every_answer
async def test_a_read_never_succeeds_on_a_hostile_answer(lied_to, name):
    upstream, anyone = lied_to(ANSWERS[name])
    failed = await anyone.fails(READ, {"vault_id": "v"}, timeout_s=20)
    assert (failed.code, failed.reason) in {
        ("INTERNAL", "UPSTREAM_PROTOCOL"),
        ("UNAVAILABLE", "UPSTREAM_UNAVAILABLE"),
    }
    assert 1 <= len(upstream.requests) <= 3
    assert "Login" not in repr(failed)


@pytest.mark.parametrize("name", [*ANSWERS, *CONTRADICTORY])
async def test_a_create_is_sent_once_and_unknown_after_a_hostile_answer(lied_to, name):
    upstream, anyone = lied_to((ANSWERS | CONTRADICTORY)[name])
    failed = await anyone.fails(CREATE, stage.vault_request(), timeout_s=20)
    assert (failed.code, failed.reason) == ("UNKNOWN", "OUTCOME_UNKNOWN")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("name", DRIFTED)
async def test_a_member_that_cannot_be_read_costs_no_success(lied_to, name):
    upstream, anyone = lied_to(DRIFTED[name])
    read = (await anyone.ok(READ, {"vault_id": "v"})).vault
    made = (await anyone.ok(CREATE, stage.vault_request())).vault
    # Only what is read by itself has one.
    read.ClearField("etag")
    assert read == made
    assert read.id in {"v", "7"}
    assert len(upstream.requests) == 2


ERRORS = {
    "error_code": {"error_code": "BackupService.6001", "error_msg": "no"},
    "errorCode": {"errorCode": "BackupService.6001", "errorMsg": "no"},
    "code and message": {"code": 500, "message": "no"},
    "error": {"error": {"code": 404, "message": "no"}},
    "error as text": {"error": "no"},
    "itemNotFound": {"itemNotFound": {"code": 404, "message": "no"}},
    "beside the vault": {"vault": GOOD, "error": {"code": "BackupService.6001", "message": "no"}},
}


async def test_a_key_that_says_two_things_costs_only_itself(lied_to):
    upstream, anyone = lied_to(body('{"vault":{"id":"v","name":"a","name":"b"}}'))
    made = (await anyone.ok(CREATE, stage.vault_request())).vault
    kept = made.extra_fields["name"].values
    assert (made.id, made.name, [each.string_value for each in kept]) == ("v", "", ["a", "b"])
    for _ in range(3):
        read = (await anyone.ok(READ, {"vault_id": "v"})).vault
        assert (read.id, read.name) == ("v", "b")
    assert len(upstream.requests) == 4


@pytest.mark.parametrize("name", ERRORS)
async def test_an_error_inside_a_success_is_an_error(lied_to, name):
    upstream, anyone = lied_to(body(json.dumps(ERRORS[name])))
    assert await anyone.fails(READ, {"vault_id": "v"})
    assert await anyone.fails(CREATE, stage.vault_request())
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "nothing", [b"", b"{}", b"null", b'""', b'{"vaults":null}', b'{"request_id":"x"}']
)
async def test_an_empty_success_is_no_empty_world(lied_to, nothing):
    _, anyone = lied_to(body(nothing))
    failed = await anyone.fails("VaultService/ListVaults", {}, timeout_s=20)
    assert (failed.code, failed.reason) == ("INTERNAL", "UPSTREAM_PROTOCOL")


@pytest.mark.parametrize(
    ("rpc", "fields", "answer"),
    [
        (rpc, fields, answer)
        for rpc, fields, answers in (
            (
                "VaultService/GetVaultSummary",
                {},
                ({"size": None, "used_size": 1}, {"size": 1, "used_size": ""}, {"size": "many"}),
            ),
            (
                "VaultService/QueryVaultsByTag",
                {"action": "TAG_QUERY_ACTION_FILTER"},
                (
                    {"total_count": 7},
                    {"resources": None, "total_count": 7},
                    {"resources": {}},
                    {"resources": 5, "total_count": 1},
                ),
            ),
            (
                "VaultService/QueryVaultsByTag",
                {"action": "TAG_QUERY_ACTION_COUNT"},
                ({}, {"total_count": None}),
            ),
        )
        for answer in answers
    ],
)
async def test_a_part_of_an_answer_is_no_answer(lied_to, rpc, fields, answer):
    _, anyone = lied_to(body(json.dumps(answer)))
    failed = await anyone.fails(rpc, fields, timeout_s=20)
    assert (failed.code, failed.reason) == ("INTERNAL", "UPSTREAM_PROTOCOL")


@pytest.mark.parametrize(
    "nothing", [b"", b"{}", b"null", b'""', b"[]", b'"ok"', b'{"request_id":"x"}']
)
async def test_nothing_is_enough_for_a_change_that_promises_nothing(lied_to, nothing):
    upstream, anyone = lied_to(body(nothing))
    await anyone.ok("AgentService/UnregisterAgent", {"agent_id": "a"})
    assert len(upstream.requests) == 1


MADE = "0a7b2a5e-1111-4222-8333-444444444444"
CREATES = {
    CREATE: "vaults",
    "CheckpointService/CreateCheckpoint": "checkpoints",
    "PolicyService/CreatePolicy": "policies",
}
LOCATED = {
    "{collection}/{made}": True,
    "https://another.example{collection}/{made}": True,
    "{collection}/{made}?a=1": False,
    "{collection}/{made}/tasks": False,
    "{collection}/{made}/": False,
    "{collection}/vault-1": False,
    "{collection}": False,
    "/v3/jobs/{made}": False,
    "http://[::1": False,
    "": False,
}


@pytest.mark.parametrize("where", LOCATED)
@pytest.mark.parametrize("rpc", CREATES)
async def test_an_id_that_the_location_alone_names_is_enough(lied_to, rpc, where):
    """If it cannot mean anything else."""
    request = {key: value for key, value in REQUESTS[rpc].items() if key != "request_id"}
    place = where.format(collection=f"/v3/{PAYMENTS_PROJECT_ID}/{CREATES[rpc]}", made=MADE)
    for nothing in (b"", b"{}", b'{"request_id":"x"}'):
        _, anyone = lied_to(answer(nothing, "202 Accepted", f"Location: {place}\r\n"))
        if LOCATED[where]:
            response = await anyone.ok(rpc, request)
            assert getattr(response, rpc.rpartition("Create")[2].lower()).id == MADE
        else:
            assert (await anyone.fails(rpc, request)).reason == "OUTCOME_UNKNOWN"


@pytest.mark.parametrize("said", [b"[]", b'"x"', b'{"vault":{}}', b'{"vault":null}', b"<html>"])
async def test_a_location_beside_a_body_that_says_something_proves_nothing(lied_to, said):
    place = f"Location: /v3/{PAYMENTS_PROJECT_ID}/vaults/{MADE}\r\n"
    _, anyone = lied_to(answer(said, headers=place))
    failed = await anyone.fails(CREATE, stage.vault_request())
    assert failed.reason == "OUTCOME_UNKNOWN"


@pytest.mark.parametrize(
    "text", ['{"vault":{"id":"v","name":"ok"}}', ' {"vault": {"id": "v", "name": "ok"}} ']
)
async def test_an_honest_answer_of_the_same_server_is_a_success(text):
    async with (
        raw_server(always(body(text))) as upstream,
        gateway_before(upstream.origin) as (_, anyone),
    ):
        assert (await anyone.ok(READ, {"vault_id": "v"})).vault.name == "ok"


async def test_each_of_many_keys_costs_little():
    """Keys that nobody models go to extra_fields; whatever is made of them, other callers must not
    wait for it.
    """
    many = {f"key{number}": number for number in range(20_000)}
    async with (
        raw_server(always(vault(**many))) as upstream,
        gateway_before(upstream.origin) as (_, anyone),
    ):
        with counted_steps() as steps:
            result = await anyone(READ, {"vault_id": "v"}, timeout_s=20)
    assert not isinstance(result, Failure), result
    assert result.vault.id == "v"
    assert steps.number < 50 * len(many)


async def test_a_stream_without_end_is_cut():
    """100 MB announced; the gateway stops reading after 8 MiB."""
    sent = []

    async def script(connection):
        await connection.request()
        sent.append(0)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
        for _ in range(1600):
            await connection.send(b" " * 65536)
            sent[-1] += 65536

    async with raw_server(script) as upstream, gateway_before(upstream.origin) as (_, anyone):
        failed = await anyone.fails(READ, {"vault_id": "v"}, timeout_s=20)
        assert failed.code in {"INTERNAL", "UNAVAILABLE"}
    assert max(sent) < 40_000_000


async def test_a_redirect_is_not_followed():
    async def nobody(connection):
        await connection.request()

    async with raw_server(nobody) as elsewhere:
        location = f"Location: {elsewhere.origin}/v3/steal\r\n"
        for status in (
            "301 Moved",
            "302 Found",
            "303 See Other",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        ):
            async with (
                raw_server(always(answer(b"", status, location))) as upstream,
                gateway_before(upstream.origin) as (_, anyone),
            ):
                read = await anyone.fails(READ, {"vault_id": "v"})
                made = await anyone.fails(CREATE, stage.vault_request())
            assert (read.code, read.reason) == ("INTERNAL", "UPSTREAM_PROTOCOL")
            assert made.reason == "OUTCOME_UNKNOWN"
            assert elsewhere.origin not in repr((read, made))
        assert elsewhere.requests == []


async def drip_headers(connection):
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\n")
    number = 0
    while True:
        number += 1
        await connection.send(f"X-{number}: {'y' * 1000}\r\n".encode())


async def drip_body(connection):
    await connection.request()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await connection.drip(b" ", 1.0)


async def drip_head(connection):
    await connection.request()
    await connection.drip(b"H", 1.0)


async def silence(connection):
    await connection.request()
    await connection.until_closed()


@pytest.mark.parametrize(
    "script", [drip_headers, drip_body, drip_head, silence], ids=lambda script: script.__name__
)
async def test_slowness_does_not_outlast_the_deadline(script):
    async with raw_server(script) as upstream, gateway_before(upstream.origin) as (_, anyone):
        asked = []

        def create():
            asked.append(1)
            return anyone.fails(CREATE, stage.vault_request(), timeout_s=1.5)

        read, made = await asyncio.gather(
            told(lambda: anyone.fails(READ, {"vault_id": "v"}, timeout_s=1.5)), told(create)
        )
    assert read.code in {"UNAVAILABLE", "INTERNAL"}
    assert (made.code, made.reason) == ("UNKNOWN", "OUTCOME_UNKNOWN")
    sent = [request for request in upstream.requests if request.startswith(b"POST")]
    assert 1 <= len(sent) <= len(asked)


LONG_CODE = '{"error_code":"' + "E" * 5000 + '"}'


@pytest.mark.parametrize(
    "text",
    ["<b>oops</b>", "", "null", "[1]", '{"error_code":7}', '{"error_code":["x"]}', LONG_CODE],
)
@pytest.mark.parametrize(
    "status", ["400 Bad Request", "404 Not Found", "418 Teapot", "500 Oops", "599 Odd"]
)
async def test_an_error_of_any_shape_is_mapped(lied_to, status, text):
    _, anyone = lied_to(answer(text.encode(), status))
    failed = await anyone.fails(READ, {"vault_id": "v"})
    assert failed.reason not in {"INTERNAL", ""}
    assert failed.facts["upstreamHttpStatus"] == status[:3]
    assert "oops" not in repr(failed)
