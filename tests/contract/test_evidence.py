"""Every rule about what is sent to CBR names its evidence in the census, and one without sure
evidence refuses nothing.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from buf.validate import validate_pb2
from cbrgateway.v1 import options_pb2, quota_pb2
from google.protobuf import json_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from gateway.errors import GatewayError
from gateway.operations import load_catalog
from gateway.rpc.validation import parse, warnings
from gateway.upstream import wire
from gateway.upstream.reference import unsure_rules
from gateway.upstream.rules import reachable

CATALOG = load_catalog()
CENSUS = tomllib.loads(
    (Path(__file__).parents[1] / "census" / "fields" / "rules.toml").read_text(encoding="utf-8")
)


def ids(rules) -> Iterator[str]:
    """The ids of a field's rules, as a violation names them."""
    for kind, value in rules.ListFields():
        if kind.name == "required":
            yield "required"
        elif kind.name == "cel":
            yield from (rule.id for rule in value)
        elif kind.name == "enum":
            yield from ["enum.const"] if value.HasField("const") else []
        else:
            for rule, inside in value.ListFields():
                yield from ids(inside) if rule.name == "items" else [f"{kind.name}.{rule.name}"]


def declared():
    """(name of a field or message, rule, whether it is sure) of every rule about what is sent."""
    for binding in CATALOG:
        for message in reachable(binding.descriptor.input_type) if not binding.custom else ():
            options = message.GetOptions()
            for rule in (
                options.Extensions[validate_pb2.message].cel
                if options.HasExtension(validate_pb2.message)
                else ()
            ):
                yield message.name, rule.id, rule.id not in unsure_rules(None, message)
            for fd in message.fields:
                options = fd.GetOptions()
                if fd.name in wire.GATEWAY_FIELDS or not options.HasExtension(validate_pb2.field):
                    continue
                in_path = (
                    message is binding.descriptor.input_type
                    and f"{{{wire.json_key(fd)}}}" in binding.path
                )
                for rule in ids(options.Extensions[validate_pb2.field]):
                    if not (rule == "required" and in_path):
                        yield (
                            f"{message.name}.{fd.name}",
                            rule,
                            rule not in unsure_rules(fd, None),
                        )


def test_every_rule_is_in_the_census_with_its_evidence_and_nothing_else_is():
    found: dict[str, dict[str, bool]] = {}
    for name, rule, sure in declared():
        found.setdefault(name, {})[rule] = sure
    assert len(found) > 100
    assert found == {
        name: {rule: sure for rule, (_, sure) in rules.items()} for name, rules in CENSUS.items()
    }
    assert all(evidence for rules in CENSUS.values() for evidence, _ in rules.values())


@pytest.mark.parametrize(
    "binding", [b for b in CATALOG if not b.custom and not b.reads], ids=lambda b: b.rpc
)
def test_what_only_cbr_sets_is_never_sent(binding):
    """A caller may send back what was answered: no rule refuses such a field, and none of them
    reaches CBR.
    """
    request = binding.request_type()
    fill(request, binding.descriptor.input_type)
    assert b"set by CBR" not in msgspec.json.encode(binding.members(request))
    for fd in (
        fd
        for message in reachable(binding.descriptor.input_type)
        for fd in message.fields
        if wire.answer_only(fd)
    ):
        assert not fd.GetOptions().HasExtension(validate_pb2.field)


def fill(message, descriptor, above=()):
    """Sets what only CBR sets at any depth, in lists too."""
    for fd in descriptor.fields:
        if wire.answer_only(fd):
            setattr(message, fd.name, "set by CBR")
        elif (
            fd.message_type is not None
            and fd.message_type.file.package == descriptor.file.package
            and fd.message_type not in above
        ):
            inside = getattr(message, fd.name)
            fill(
                inside.add() if fd.is_repeated else inside,
                fd.message_type,
                (*above, fd.message_type),
            )


def test_there_are_fields_that_only_cbr_sets():
    found = {
        fd.full_name
        for b in CATALOG
        if not b.custom
        for m in reachable(b.descriptor.input_type)
        for fd in m.fields
        if wire.answer_only(fd)
    }
    assert "cbrgateway.v1.PolicyOperationDefinition.created_by" in found


BILLING = {
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "size_gib": 100,
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
}


def vault(tags):
    return {
        "create_vault": {
            "vault": {
                "name": "v",
                "billing": BILLING,
                "tags": [{"key": f"k{n}", "value": ""} for n in range(tags)],
            }
        }
    }


@pytest.mark.parametrize("tag", [{"key": " k"}, {"key": "k "}, {"key": "k", "value": " v "}])
def test_spaces_at_the_ends_of_a_tag_warn(tag):
    """CBR leaves them out, and takes the tag."""
    binding = CATALOG["VaultService/CreateVaultTag"]
    wanted = {"vault_id": "v", "tag": {"value": "", **tag}}
    passed = parse(
        binding, json_format.ParseDict(wanted, binding.request_type()).SerializeToString()
    )
    field = "tag.value" if tag.get("value") else "tag.key"
    assert [(v.subject, v.rule) for v in warnings(binding, passed)] == [(field, "tag.ends")]


WHOLE = [
    (
        "VaultService/AssociateVaultPolicy",
        ("AssociateVaultPolicyRequest", "policy.exactly_one"),
        {"vault_id": "v", "policy_id": "p", "add_policy_ids": ["q"]},
        ["policy_id", "add_policy_ids"],
    ),
    (
        "VaultService/CreateVault",
        ("BillingSpec", "billing.period_type"),
        {
            "vault": {
                "name": "v",
                "billing": BILLING | {"charging_mode": "CHARGING_MODE_PRE_PAID", "period_num": 1},
            }
        },
        ["vault.billing.charging_mode", "vault.billing.period_type"],
    ),
]
"""RPC, a rule of its request or of a part of it, a request that breaks it, and the fields that it
names.
"""


def with_unsure(descriptor, rule):
    """A message type in a pool of its own, where that rule of a whole message is unsure."""
    pool, known = DescriptorPool(), set()

    def add(file):
        if file.name in known:
            return
        known.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        copy = FileDescriptorProto()
        file.CopyToProto(copy)
        for message in (each for each in copy.message_type if each.name == rule[0]):
            message.options.Extensions[options_pb2.unsure_rules].append(rule[1])
        pool.Add(copy)

    add(descriptor.file)
    return pool.FindMessageTypeByName(descriptor.full_name)


@pytest.mark.parametrize(("rpc", "rule", "wanted", "fields"), WHOLE)
def test_a_rule_of_a_whole_message_that_is_not_sure_warns(rpc, rule, wanted, fields):
    sure = CATALOG[rpc]
    request = json_format.ParseDict(wanted, sure.request_type())
    with pytest.raises(GatewayError):
        parse(sure, request.SerializeToString())
    descriptor = with_unsure(sure.descriptor.input_type, rule)
    unsure = SimpleNamespace(
        request_type=GetMessageClass(descriptor), descriptor=SimpleNamespace(input_type=descriptor)
    )
    passed = parse(unsure, request.SerializeToString())
    assert [v.subject for v in warnings(unsure, passed)] == fields
    assert {v.rule for v in warnings(unsure, passed)} == {rule[1]}


@pytest.mark.parametrize(
    ("tags", "warned"), [(10, []), (11, [("create_vault.vault.tags", "repeated.max_items")])]
)
def test_a_rule_that_is_not_sure_warns(tags, warned):
    binding = CATALOG["QuotaService/CheckQuota"]
    request = json_format.ParseDict(vault(tags), quota_pb2.CheckQuotaRequest())
    passed = parse(binding, request.SerializeToString())
    assert [(v.subject, v.rule) for v in warnings(binding, passed)] == warned
