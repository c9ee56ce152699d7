"""Answers as they were recorded or documented, from the wire to a caller: nothing in them is lost,
and none is taken for a failure.

Each file of tests/recorded is one answer: its operation, the request that it belongs to, its status
and body, and where that is from. Ids, names and addresses are replaced.
"""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cbrgateway.v1 import options_pb2
from google.protobuf import json_format

from gateway.upstream import strict_json, wire
from gateway.upstream.codec import Codecs
from tests.functional.calls import BINDINGS, REQUESTS, Failure, arrived, caller, order, tenant_for

FILES = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((Path(__file__).parents[1] / "recorded").glob("*.json"))
}
EXAMPLES = {
    file.stem.replace(".", "/"): json.loads(file.read_text(encoding="utf-8"))
    for file in (Path(__file__).parents[1] / "examples").glob("*.json")
}
RPCS = {binding.operation: rpc for rpc, binding in BINDINGS.items()}
FILES |= {
    rpc.partition("/")[2]: {"operation": binding.operation, **EXAMPLES[rpc]["answer"]}
    for rpc, binding in BINDINGS.items()
    if rpc in EXAMPLES and binding.operation not in {each["operation"] for each in FILES.values()}
}
"""Of an operation that nobody has recorded yet, the answer in its example."""
CODECS = Codecs()
SUCCESSES = [name for name, answer in FILES.items() if answer["status"] < 300]
NOT_SHOWN = {"limit", "offset", "retCode", "retMsg", "errText", "error_code", "request_id"}
"""What a list was asked for, the verdict of an order, which is the status of the call, and members
beside the object of an answer.
"""


def test_every_operation_has_an_answer():
    assert {RPCS.get(answer["operation"], answer["operation"]) for answer in FILES.values()} == set(
        BINDINGS
    )


COUNTED = FILES["ShowVaultResourceInstances-2"]
"""The one answer whose RPC is asked for rows in its example."""


async def answered(world, answer):
    """What a caller gets where CBR answers so."""
    rpc = RPCS.get(answer["operation"], answer["operation"])
    body = "" if answer["body"] is None else json.dumps(answer["body"], ensure_ascii=False)
    order(world, "status", rpc, status=answer["status"], body=body, times=None)
    request = {key: value for key, value in REQUESTS[rpc].items() if key != "request_id"}
    if answer is COUNTED:
        request["action"] = "TAG_QUERY_ACTION_COUNT"
    return await caller(world, tenant_for(rpc))(rpc, request)


@pytest.mark.parametrize("name", SUCCESSES)
async def test_a_recorded_answer_comes_out_whole(world, name):
    response = await answered(world, FILES[name])
    assert Counter(leaves(FILES[name]["body"])) - Counter(shown(response)) == Counter()


@pytest.mark.parametrize("name", sorted(FILES.keys() - set(SUCCESSES)))
async def test_a_recorded_error_keeps_its_code(world, name):
    failed = await answered(world, FILES[name])
    codes = [text for key, text in members(FILES[name]["body"]) if key in {"error_code", "code"}]
    assert failed.facts.get("upstreamCode", "") == "".join(map(str, codes))
    assert failed.reason not in {"OUTCOME_UNKNOWN", "INTERNAL"}


def members(value):
    """(key, value) of every member at any depth."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield key, inside
            yield from members(inside)


def shown(response):
    """The leaves of a response, and of what it keeps beyond its fields, as CBR writes them."""
    return [*leaves(CODECS.plan(response.DESCRIPTOR).write(response)), *kept(response)]


def kept(message):
    """The leaves of what a message and its parts keep beyond their fields, and of what only CBR
    sets.
    """
    for fd, value in message.ListFields():
        if fd.GetOptions().Extensions[options_pb2.answer_only]:
            yield from plain(value)
        elif fd.name == wire.EXTRA:
            yield from leaves(json_format.MessageToDict(value))
        elif fd.message_type is not None and not wire.is_map(fd):
            for part in value if fd.is_repeated else [value]:
                yield from kept(part)


def leaves(value):
    """Each text, number and bool of a JSON value as one form of text; nothing for what means that
    nothing is there.
    """
    if isinstance(value, dict):
        for key, inside in value.items():
            if key not in NOT_SHOWN:
                yield from leaves(inside)
    elif isinstance(value, list):
        for inside in value:
            yield from leaves(inside)
    elif value not in (None, "", 0, False):
        yield from plain(value)


def plain(value):
    """`true` for true, `28` for 28.0, whole seconds for a time, and the leaves of JSON inside a
    text.
    """
    if isinstance(value, str) and value[:1] in "{[":
        yield from leaves(strict_json.loads(value.encode()))
    elif isinstance(value, bool):
        yield "true"
    elif isinstance(value, int | float):
        yield str(int(value) if value == int(value) else value)
    else:
        yield moment(value)


def moment(text):
    """A time as whole seconds in UTC; any other text as it is."""
    try:
        when = datetime.fromisoformat(text) if len(text) > len("2024-01-01") else None
    except ValueError:
        when = None
    return (
        text
        if when is None
        else (when if when.tzinfo else when.replace(tzinfo=UTC))
        .astimezone(UTC)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
    )


DRIFTING = ("CreateVault", "UpdateVault", "CreatePolicy", "CreateCheckpoint", "RestoreBackup")


@pytest.mark.parametrize("operation", DRIFTING)
async def test_a_change_was_made_in_whatever_form_its_answer_is(world, operation):
    """Every member but the ids has another JSON type than described: text in an object, anything
    else in an array.
    """
    answer = FILES["RestoreBackup-3" if operation == "RestoreBackup" else operation]
    response = await answered(world, answer | {"body": drifted(answer["body"])})
    assert not isinstance(response, Failure), response
    assert [entry.status for entry in arrived(world, RPCS[operation])] == [answer["status"]]


def drifted(value):
    """The same with other types."""
    if isinstance(value, dict):
        return {key: inside if key == "id" else drifted(inside) for key, inside in value.items()}
    return {"text": value} if isinstance(value, str) else [value]
