"""Bytes from the network to a valid request, or an error that names the field."""

import protovalidate
import pytest
from cbrgateway.v1 import vault_pb2
from google.protobuf import message_factory
from google.rpc import code_pb2, error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, reason_name
from gateway.operations import load_catalog
from gateway.rpc.status import to_status
from gateway.rpc.validation import parse
from gateway.upstream.reference import allowed_values
from tests.counting import counted_steps
from tests.unit.upstream.messages import messages

CATALOG = load_catalog()
CREATE, GET, LIST = (
    CATALOG[f"VaultService/{name}"] for name in ("CreateVault", "GetVault", "ListVaults")
)
VALID = {
    "name": "v",
    "billing": {
        "object_type": "OBJECT_TYPE_SERVER",
        "protect_type": "PROTECT_TYPE_BACKUP",
        "size_gib": 100,
        "consistent_level": "CONSISTENT_LEVEL_APP_CONSISTENT",
    },
}


def refusal(binding, data):
    with pytest.raises(GatewayError) as caught:
        parse(binding, data)
    error = caught.value
    assert (reason_name(error.reason), error.code) == ("FIELD_INVALID", code_pb2.INVALID_ARGUMENT)
    return error


def create(**changes):
    return vault_pb2.CreateVaultRequest(vault=VALID | changes).SerializeToString()


def paths(error):
    return [violation.subject for violation in error.violations]


def test_a_valid_request_is_parsed():
    assert parse(CREATE, create()).vault.name == "v"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\x0a\x05abc",
        b"\x0a\x02\xff\xff",
        b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    ],
)
def test_broken_bytes_are_refused(data):
    error = refusal(GET, data)
    assert error.violations[0].rule == "encoding"
    assert "GetVaultRequest" in error.message


@pytest.mark.parametrize("data", [b"\xf8\x7f\x01", b"\x0a\x01v\xf8\x7f\x01"])
def test_an_unknown_field_is_refused_because_it_would_be_left_out(data):
    assert refusal(GET, data).violations[0].rule == "unknown_field"


def test_an_unknown_field_deep_inside_is_refused():
    unknown = vault_pb2.VaultSpec.FromString(
        vault_pb2.VaultSpec(**VALID).SerializeToString() + b"\xf8\x7f\x01"
    )
    error = refusal(CREATE, vault_pb2.CreateVaultRequest(vault=unknown).SerializeToString())
    assert error.violations[0].rule == "unknown_field"


@pytest.mark.parametrize(
    ("binding", "data", "path", "rule"),
    [
        (GET, b"", "vault_id", "required"),
        (CREATE, b"", "vault", "required"),
        (
            CREATE,
            create(billing=VALID["billing"] | {"object_type": 99}),
            "vault.billing.object_type",
            "enum.defined_only",
        ),
        (
            CREATE,
            create(billing=VALID["billing"] | {"object_type": 1}),
            "vault.billing.object_type",
            "enum.not_in",
        ),
        (
            CREATE,
            create(resources=[{"id": f"{i}", "type": "t"} for i in range(300)]),
            "vault.resources",
            "repeated.max_items",
        ),
        (
            CREATE,
            create(bind_rules={"tags": [{"key": "k", "value": "v"}] * 6}),
            "vault.bind_rules.tags",
            "repeated.max_items",
        ),
        (
            CREATE,
            create(resources=[{"id": "a", "type": "t"}, {"id": "b"}]),
            "vault.resources[1].type",
            "required",
        ),
        (CREATE, create(name="x" * 65), "vault.name", "string.max_len"),
        (
            CREATE,
            create(billing=VALID["billing"] | {"size_gib": 9}),
            "vault.billing.size_gib",
            "int32.gte_lte",
        ),
        (LIST, LIST.request_type(page_size=-1).SerializeToString(), "page_size", "int32.gte"),
        (LIST, LIST.request_type(status=99).SerializeToString(), "status", "enum.defined_only"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_rule_names_the_path_of_its_field(binding, data, path, rule):
    error = refusal(binding, data)
    assert (path, rule) in {(violation.subject, violation.rule) for violation in error.violations}
    assert error.message.startswith(paths(error)[0])


def test_every_broken_field_is_named_at_once():
    error = refusal(
        CREATE, create(name="x" * 65, billing=VALID["billing"] | {"object_type": 99, "size_gib": 9})
    )
    assert {"vault.name", "vault.billing.object_type", "vault.billing.size_gib"} <= set(
        paths(error)
    )
    assert f"(and {len(error.violations) - 1} more)" in error.message


@pytest.mark.parametrize(
    ("rpc", "request_fields", "text"),
    [
        (
            "VaultService/ListVaults",
            {"protect_type": 99},
            "must be one of PROTECT_TYPE_BACKUP, PROTECT_TYPE_REPLICATION, PROTECT_TYPE_HYBRID",
        ),
        (
            "VaultService/BatchUpdateVaultTags",
            {"vault_id": "v"},
            "must be one of TAG_ACTION_CREATE, TAG_ACTION_DELETE",
        ),
        (
            "AgentService/UpdateAgent",
            {"agent_id": "a", "agent": {"status": 2}},
            "must be AGENT_STATUS_UNINSTALL",
        ),
    ],
    ids=["a filter", "a needed field", "a field with one value"],
)
def test_what_an_enum_may_hold_is_said_by_name(rpc, request_fields, text):
    binding = CATALOG[rpc]
    assert (
        text
        in refusal(binding, binding.request_type(**request_fields).SerializeToString())
        .violations[0]
        .description
    )


def test_the_names_of_values_fit_whole_into_the_status():
    limit = CATALOG["QuotaService/SetLimit"]
    error = refusal(
        limit, limit.request_type(limit={"metric": 99, "level": 2, "value": 1}).SerializeToString()
    )
    description = error.violations[0].description
    assert (description.count("QUOTA_METRIC_"), description[-10:]) == (10, " or 1 more")
    status = to_status(error, "0" * 32)
    assert description in status.message
    shown = [
        error_details_pb2.BadRequest.FromString(detail.value)
        for detail in status.details
        if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR)
    ]
    assert shown[0].field_violations[0].description == description


def messages_of(descriptor):
    inside = [
        fd.message_type
        for fd in descriptor.fields
        if fd.message_type is not None and fd.message_type.file.package == descriptor.file.package
    ]
    return {descriptor.full_name: descriptor} | {
        name: found for each in inside for name, found in messages_of(each).items()
    }


def test_the_names_are_those_of_the_values_that_the_rules_allow():
    every = {
        name: found
        for binding in CATALOG
        for name, found in messages_of(binding.descriptor.input_type).items()
    }
    for fd in [
        fd for descriptor in every.values() for fd in descriptor.fields if fd.enum_type is not None
    ]:
        kept = []
        for value in fd.enum_type.values[1:]:
            message = message_factory.GetMessageClass(fd.containing_type)(
                **{fd.name: [value.number] if fd.is_repeated else value.number}
            )
            broken = {
                found.proto.field.elements[0].field_name
                for found in protovalidate.collect_violations(message)
                if found.proto.field
            }
            kept += [value.name] if fd.name not in broken else []
        assert (fd.full_name, allowed_values(fd)) == (fd.full_name, tuple(kept))


# Requests made of nothing but list items
# -----------------------------------------------------------------------------------------------

MAX_BYTES = 1024 * 1024


def list_fields(descriptor, above=()):
    """Every way to a list: the fields from the request to it."""
    for fd in descriptor.fields:
        way = (*above, fd)
        if fd.is_repeated:
            yield way
        if fd.message_type is not None and fd.message_type not in {
            outer.message_type for outer in above
        }:
            yield from list_fields(fd.message_type, way)


def length_of(number):
    return bytes([number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14])


def field_of(fd, content):
    """One occurrence of a field with a length, as bytes."""
    return (
        bytes(
            [
                fd.number << 3 & 0x7F | 2 | (0x80 if fd.number > 15 else 0),
                *([fd.number >> 4] if fd.number > 15 else []),
            ]
        )
        + content
    )


def bomb(way):
    """About `MAX_BYTES` of empty items of a list; where the list is inside items of another, that
    one has a single item.
    """
    *outer, last = way
    data = field_of(last, b"\x00") * (MAX_BYTES // 2 // (3 if last.number > 15 else 2) - 20)
    if last.message_type is None and last.type != last.TYPE_STRING:
        data = field_of(last, length_of(MAX_BYTES // 2) + b"\x02" * (MAX_BYTES // 2))
    for fd in reversed(outer):
        data = field_of(fd, length_of(len(data)) + data)
    return data


def dotted(way):
    return ".".join(fd.name + ("[0]" if fd.is_repeated and fd is not way[-1] else "") for fd in way)


BOMBS = [
    pytest.param(binding, way, id=f"{binding.rpc}-{dotted(way)}")
    for binding in CATALOG
    for way in list_fields(binding.descriptor.input_type)
]


@pytest.mark.parametrize(("binding", "way"), BOMBS)
def test_a_request_full_of_list_items_is_refused_at_once(binding, way):
    data = bomb(way)
    assert MAX_BYTES // 3 < len(data) <= MAX_BYTES
    with counted_steps() as steps:
        error = refusal(binding, data)
    assert steps.number < 2000, "not every item was looked at"
    assert [(violation.subject, violation.rule) for violation in error.violations] == [
        (dotted(way), "repeated.max_items")
    ]


def test_lists_inside_lists_do_not_multiply():
    targets = [{"id": "r", "type": "t", "extra_info": {"exclude_volumes": ["d"] * 1000}}] * 255
    with counted_steps() as steps:
        error = refusal(CREATE, create(resources=targets))
    assert steps.number < 2000, "not every item was looked at"
    assert paths(error) == ["vault.resources[9].extra_info.exclude_volumes"]


def test_of_many_broken_items_the_first_are_named_and_the_rest_is_counted():
    error = refusal(CREATE, create(resources=[{}] * 255))
    assert len(error.violations) == 20
    assert "(and 509 more)" in error.message


@given(st.binary(max_size=40), st.sampled_from(list(CATALOG)))
@settings(max_examples=300)
def test_any_bytes_are_a_request_or_refused(data, binding):
    attempt(binding, data)


@pytest.mark.parametrize("binding", list(CATALOG), ids=lambda b: b.rpc)
@given(data=st.data())
@settings(max_examples=3)
def test_any_message_is_a_request_or_refused(data, binding):
    attempt(
        binding,
        data.draw(messages(binding.descriptor.input_type, hostile=True)).SerializeToString(),
    )


def attempt(binding, data):
    """A message of the type or a FIELD_INVALID, never anything else."""
    try:
        assert isinstance(parse(binding, data), binding.request_type)
    except GatewayError as error:
        assert reason_name(error.reason) == "FIELD_INVALID"  # noqa: PT017 - a property over both ends
        assert error.violations  # noqa: PT017
