"""What "not set", "empty" and null mean to CBR is declared of every list, map and message of a
change that may be left out, as the census says.
"""

import tomllib
from pathlib import Path

import pytest
from buf.validate import validate_pb2
from cbrgateway.v1 import options_pb2
from google.protobuf import json_format

from gateway.operations import load_catalog
from gateway.upstream import wire
from gateway.upstream.rules import reachable

CATALOG = load_catalog()
CENSUS = tomllib.loads(
    (Path(__file__).parents[1] / "census" / "fields" / "empty.toml").read_text(encoding="utf-8")
)


def may_be_left_out(fd):
    rules = fd.GetOptions().Extensions[validate_pb2.field]
    return not rules.required and not rules.repeated.min_items


def optional_members():
    """Of every change: lists, maps, messages, and what is sent as null."""
    changes = [
        binding.descriptor.input_type
        for binding in CATALOG
        if not binding.reads and not binding.custom
    ]
    messages = {message.full_name: message for change in changes for message in reachable(change)}
    fields = [
        fd
        for message in messages.values()
        for fd in message.fields
        if fd.name not in wire.GATEWAY_FIELDS
    ]
    null = "google.protobuf.NullValue"
    return [
        fd
        for fd in fields
        if may_be_left_out(fd)
        and (fd.is_repeated or fd.message_type or (fd.enum_type and fd.enum_type.full_name == null))
    ]


def declared(fd):
    if fd.enum_type is not None and not fd.is_repeated:
        return "null"
    return options_pb2.Empty.Name(wire.empty(fd)).removeprefix("EMPTY_")


def test_every_optional_member_of_a_change_says_what_empty_means_as_the_census_does():
    found = {f"{fd.containing_type.name}.{fd.name}": declared(fd) for fd in optional_members()}
    assert len(found) > 30
    assert found == {name: row["is"] for name, row in CENSUS.items()}


def test_every_row_of_the_census_says_all_and_names_its_source():
    for name, row in CENSUS.items():
        assert set(row) == {"is", "unset", "empty", "null", "source", "sure"}, name
        assert row["source"], name


def parts(message, above=()):
    for fd in message.fields:
        if wire.empty(fd) == options_pb2.EMPTY_REPLACED:
            yield (*above, fd.name)
        elif (
            fd.message_type is not None
            and not fd.is_repeated
            and fd.message_type.file.package == message.file.package
        ):
            yield from parts(fd.message_type, (*above, fd.name))


def test_what_is_replaced_as_a_whole_is_shown_under_the_same_names():
    found = {
        binding.rpc: list(parts(binding.descriptor.input_type))
        for binding in CATALOG
        if not binding.reads and not binding.custom
    }
    found = {rpc: paths for rpc, paths in found.items() if paths}
    assert len(found) == 2
    for rpc, paths in found.items():
        for path in paths:
            shown = CATALOG[CATALOG[rpc].read_back].descriptor.output_type
            for name in path:
                shown = shown.fields_by_name[name].message_type
            assert shown.full_name == "cbrgateway.v1.PolicyOperationDefinition"


BIND = {"vault_id": "v", "vault": {"bind_rules": {"tags": []}}}
DISKS = {
    "vault_id": "v",
    "resources": [{"id": "r", "type": "OS::Nova::Server", "extra_info": {"exclude_volumes": []}}],
}


@pytest.mark.parametrize(
    ("rpc", "request_fields", "path", "sent"),
    [
        ("VaultService/UpdateVault", BIND, ["vault"], {"bind_rules": {"tags": []}}),
        (
            "VaultService/UpdateVault",
            {"vault_id": "v", "vault": {"name": "n"}},
            ["vault"],
            {"name": "n"},
        ),
        (
            "VaultService/AddVaultResources",
            DISKS,
            ["resources", 0, "extra_info"],
            {"exclude_volumes": []},
        ),
        (
            "VaultService/AddVaultResources",
            {
                "vault_id": "v",
                "resources": [
                    {
                        "id": "r",
                        "type": "OS::Nova::Server",
                        "extra_info": {"include_volumes": [{"id": "d"}]},
                    }
                ],
            },
            ["resources", 0, "extra_info"],
            {"include_volumes": [{"id": "d"}]},
        ),
        (
            "VaultService/CreateVault",
            {"vault": {"bind_rules": {}}},
            ["vault"],
            {"resources": [], "bind_rules": {"tags": []}},
        ),
        (
            "VaultService/OrderVault",
            {"vault": {"bind_rules": {}}},
            ["vault"],
            {"resources": [], "bind_rules": {"tags": []}},
        ),
        (
            "CheckpointService/CreateCheckpoint",
            {"checkpoint": {"parameters": {"resource_details": [{"id": "r", "extra_info": {}}]}}},
            ["checkpoint", "parameters", "resource_details", 0],
            {"id": "r", "extra_info": {"exclude_volumes": []}},
        ),
    ],
)
def test_what_clears_reaches_cbr_as_an_empty_list(rpc, request_fields, path, sent):
    binding = CATALOG[rpc]
    found = binding.members(json_format.ParseDict(request_fields, binding.request_type()))
    for step in path:
        found = found[step]
    assert found == sent
