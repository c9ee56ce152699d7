"""Bytes from the network to a valid request, or an error that names the field."""

import pytest
from cbrgateway.v1 import vault_pb2
from google.rpc import code_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, reason_name
from gateway.rpc.validation import parse
from gateway.upstream.catalog import load_catalog
from tests.unit.upstream.messages import messages

CATALOG = load_catalog()
CREATE, GET, LIST = (CATALOG[f"VaultService/{name}"] for name in ("CreateVault", "GetVault", "ListVaults"))
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


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05abc", b"\x0a\x02\xff\xff", b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80"])
def test_broken_bytes_are_refused(data):
    error = refusal(GET, data)
    assert error.violations[0].rule == "encoding"
    assert "GetVaultRequest" in error.message


@pytest.mark.parametrize("data", [b"\xf8\x7f\x01", b"\x0a\x01v\xf8\x7f\x01"])
def test_an_unknown_field_is_refused_because_it_would_be_left_out(data):
    assert refusal(GET, data).violations[0].rule == "unknown_field"


def test_an_unknown_field_deep_inside_is_refused():
    unknown = vault_pb2.VaultSpec.FromString(vault_pb2.VaultSpec(**VALID).SerializeToString() + b"\xf8\x7f\x01")
    error = refusal(CREATE, vault_pb2.CreateVaultRequest(vault=unknown).SerializeToString())
    assert error.violations[0].rule == "unknown_field"


@pytest.mark.parametrize(
    ("binding", "data", "path", "rule"),
    [
        (GET, b"", "vault_id", "required"),
        (CREATE, b"", "vault", "required"),
        (CREATE, create(billing=VALID["billing"] | {"object_type": 99}), "vault.billing.object_type", "enum.defined_only"),
        (CREATE, create(billing=VALID["billing"] | {"object_type": 1}), "vault.billing.object_type", "enum.not_in"),
        (CREATE, create(resources=[{"id": f"{i}", "type": "t"} for i in range(300)]), "vault.resources", "repeated.max_items"),
        (CREATE, create(tags=[{"key": "k", "value": "v"}] * 11), "vault.tags", "repeated.max_items"),
        (CREATE, create(resources=[{"id": "a", "type": "t"}, {"id": "b"}]), "vault.resources[1].type", "required"),
        (CREATE, create(name="x" * 65), "vault.name", "string.max_len"),
        (CREATE, create(billing=VALID["billing"] | {"size_gib": 9}), "vault.billing.size_gib", "int32.gte_lte"),
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
    error = refusal(CREATE, create(name="x" * 65, billing=VALID["billing"] | {"object_type": 99, "size_gib": 9}))
    assert {"vault.name", "vault.billing.object_type", "vault.billing.size_gib"} <= set(paths(error))
    assert f"(and {len(error.violations) - 1} more)" in error.message


@given(st.binary(max_size=40), st.sampled_from(list(CATALOG)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_request_or_refused(data, binding):
    attempt(binding, data)


@pytest.mark.parametrize("binding", list(CATALOG), ids=lambda b: b.rpc)
@given(data=st.data())
@settings(max_examples=3, deadline=None)
def test_any_message_is_a_request_or_refused(data, binding):
    attempt(binding, data.draw(messages(binding.descriptor.input_type, hostile=True)).SerializeToString())


def attempt(binding, data):
    """A message of the type or a FIELD_INVALID, never anything else."""
    try:
        assert isinstance(parse(binding, data), binding.request_type)
    except GatewayError as error:
        assert reason_name(error.reason) == "FIELD_INVALID"  # noqa: PT017 - a property over both ends
        assert error.violations  # noqa: PT017
