"""One example per RPC, typed from the vendor's facts: request -> HTTP call, and answer -> response,
both without loss.
"""

import asyncio
import contextlib
import json
from pathlib import Path

import protovalidate
import pytest
from cbrgateway.v1 import options_pb2
from google.protobuf import json_format

from gateway.clock import SystemClock
from gateway.errors import GatewayError
from gateway.operations import load_catalog
from gateway.upstream import strict_json
from gateway.upstream.declaration import IN_BODY, query_pairs
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.paging import plan_page
from gateway.upstream.values import ProtocolError
from gateway.upstream.wire import GATEWAY_FIELDS

EXAMPLES = [
    json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((Path(__file__).parents[1] / "examples").glob("*.json"))
]
PROJECT = "00cbf567ab4bc639a32abb3a0dca763a"

REPORTED = {
    f"{service}/{rpc}": {(f"{rpc}Response", key) for key in keys}
    for service, rpc, keys in (
        ("OrderService", "ChangeOrder", ("retCode", "retMsg")),
        ("OrderService", "UpdateOrder", ("retCode", "retMsg")),
        ("VaultService", "ChangeVaultChargingMode", ("retCode", "retMsg")),
        ("VaultService", "CreateVault", ("retCode", "errText", "error_code")),
        ("VaultService", "OrderVault", ("retCode", "errText", "error_code")),
    )
}
"""RPC -> (message, key) of what no field models and no `extra_fields` keeps in its example's
answer: the verdict of an order, which became an error or a success before.
"""

NEVER_SET = {
    "PolicyService/CreatePolicy": {"policy.operation_definition.created_by"},
    "PolicyService/UpdatePolicy": {"policy.operation_definition.created_by"},
    "OrganizationPolicyService/CreateOrganizationPolicy": {
        "policy.policy_operation_definition.created_by"
    },
    "OrganizationPolicyService/UpdateOrganizationPolicy": {
        "policy.policy_operation_definition.created_by"
    },
    "VaultService/AssociateVaultPolicy": {"add_policy_ids"},
}
"""RPC -> request fields that only answers hold, or that exclude another one."""

PLAIN_ZEROS = (None, False, 0, "", [], {})
"""Values that a field without presence does not keep apart from absence."""


@pytest.fixture(scope="module")
def unknown():
    return set()


@pytest.fixture(scope="module")
def catalog(unknown):
    def heard(_operation, message, key, problem):
        unknown.add(
            (message.removeprefix("cbrgateway.v1."), key, problem)
            if problem
            else (message.removeprefix("cbrgateway.v1."), key)
        )

    return load_catalog(on_drift=heard)


every_example = pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["rpc"])


def request_of(example, binding):
    return json_format.ParseDict(example["request"], binding.request_type())


def first_page(binding, request, answer):
    """What a list asks CBR for, and the response that a caller gets for its answer; both as they
    are for what is no list.
    """
    if not binding.paging:
        return {}, answer
    asked = []

    async def read(ask, _on_bad_row):
        asked.append(ask)
        return answer

    response = asyncio.run(
        plan_page(binding, request, PageTokens(b"key", SystemClock()), "tenant/project").fetch(read)
    )
    response.ClearField("next_page_token")  # Signed over the time of day.
    return asked[0], response


def read(example, binding, body):
    """The response that a caller gets for a JSON body of the answer, paging included."""
    answer = binding.response(strict_json.loads(json.dumps(body, ensure_ascii=False).encode()))
    _, response = first_page(binding, request_of(example, binding), answer)
    return response


def test_there_is_one_example_for_each_rpc(catalog):
    assert sorted(example["rpc"] for example in EXAMPLES) == sorted(
        binding.rpc for binding in catalog if not binding.custom
    )


@every_example
def test_a_request_becomes_the_vendors_call(catalog, example):
    binding = catalog[example["rpc"]]
    request = request_of(example, binding)
    ask, _ = first_page(binding, request, binding.response_type())
    members = ask | binding.members(request)
    in_body = binding.method in IN_BODY
    assert {
        "method": binding.method,
        "path": binding.target(request, PROJECT),
        "query": [] if in_body else [list(pair) for pair in query_pairs(members)],
        "body": members if in_body else None,
    } == example["http"] | {"path": example["http"]["path"].replace("{project_id}", PROJECT)}


@every_example
def test_the_request_keeps_its_own_rules(catalog, example):
    assert protovalidate.collect_violations(request_of(example, catalog[example["rpc"]])) == []


@every_example
def test_the_request_sets_every_field(catalog, example):
    unset = set(unset_fields(request_of(example, catalog[example["rpc"]]), ""))
    assert unset - GATEWAY_FIELDS == NEVER_SET.get(example["rpc"], set())


def unset_fields(message, prefix):
    """Paths of fields that are not set, of messages that are; of a oneof one member is enough."""
    present = {field.name for field, _ in message.ListFields()}
    chosen = {oneof.name for oneof in message.DESCRIPTOR.oneofs if message.WhichOneof(oneof.name)}
    for field in message.DESCRIPTOR.fields:
        in_oneof = field.containing_oneof is not None and field.containing_oneof.name in chosen
        if field.name not in present and not in_oneof and not is_raw_of_unset(message, field):
            yield f"{prefix}{field.name}"
        inside = field.message_type
        if inside is not None and field.name in present and inside.file.package == "cbrgateway.v1":
            value = getattr(message, field.name)
            # Items of a list complete each other.
            common = [
                set(unset_fields(item, f"{prefix}{field.name}."))
                for item in (value if field.is_repeated else [value])
            ]
            yield from set.intersection(*common)


def is_raw_of_unset(message, field):
    return (
        field.name.endswith("_raw") and getattr(message, field.name.removesuffix("_raw"), None) != 1
    )


@every_example
def test_an_answer_becomes_the_response(catalog, example):
    binding = catalog[example["rpc"]]
    body = {} if example["answer"]["body"] is None else example["answer"]["body"]
    assert (
        json_format.MessageToDict(read(example, binding, body), preserving_proto_field_name=True)
        == example["response"]
    )


@every_example
def test_only_known_gaps_are_reported(catalog, unknown, example):
    unknown.clear()
    read(example, catalog[example["rpc"]], example["answer"]["body"] or {})
    assert unknown == REPORTED.get(example["rpc"], set())


@every_example
def test_every_member_of_an_answer_tells_in_the_response(catalog, unknown, example):
    binding, body = catalog[example["rpc"]], example["answer"]["body"] or {}
    whole = read(example, binding, body)
    reported = {key for _, key in REPORTED.get(example["rpc"], set())} | {"limit", "offset"}
    if binding.paging == options_pb2.PAGING_SLICED:
        reported.add("count")  # The gateway counts the rows itself.
    lost = []
    for holder, key, path in list(members_of(body, "")):
        if key in reported or holder[key] in PLAIN_ZEROS:
            continue
        value = holder.pop(key)
        # Without what is required there is no response at all.
        with contextlib.suppress(ProtocolError, GatewayError):
            if read(example, binding, body) == whole:
                lost.append(path)
        holder[key] = value
    assert lost == []


def members_of(value, prefix):
    """(object, key, path) of every member at every depth."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield value, key, f"{prefix}{key}"
            yield from members_of(inside, f"{prefix}{key}.")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from members_of(item, f"{prefix}{index}.")
