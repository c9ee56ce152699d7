"""Every rule about what is sent to CBR names its evidence in the census, and one without sure evidence refuses nothing."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from buf.validate import validate_pb2
from cbrgateway.v1 import options_pb2, quota_pb2
from google.protobuf import json_format

from gateway.operations import load_catalog
from gateway.rpc.validation import parse, warnings
from gateway.upstream import codec
from gateway.upstream.replaced import completed
from gateway.upstream.rules import reachable

CATALOG = load_catalog()
CENSUS = tomllib.loads((Path(__file__).parents[1] / "census" / "fields" / "rules.toml").read_text(encoding="utf-8"))


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
            for rule in options.Extensions[validate_pb2.message].cel if options.HasExtension(validate_pb2.message) else ():
                yield message.name, rule.id, True
            for fd in message.fields:
                options = fd.GetOptions()
                if fd.name in codec.GATEWAY_FIELDS or not options.HasExtension(validate_pb2.field):
                    continue
                in_path = message is binding.descriptor.input_type and f"{{{codec.json_key(fd)}}}" in binding.path
                for rule in ids(options.Extensions[validate_pb2.field]):
                    if not (rule == "required" and in_path):
                        yield f"{message.name}.{fd.name}", rule, rule not in options.Extensions[options_pb2.unsure]


def test_every_rule_is_in_the_census_with_its_evidence_and_nothing_else_is():
    found: dict[str, dict[str, bool]] = {}
    for name, rule, sure in declared():
        found.setdefault(name, {})[rule] = sure
    assert len(found) > 100
    assert found == {name: {rule: sure for rule, (_, sure) in rules.items()} for name, rules in CENSUS.items()}
    assert all(evidence for rules in CENSUS.values() for evidence, _ in rules.values())


def answer_only(message):
    return [fd for fd in message.fields if fd.GetOptions().Extensions[options_pb2.answer_only]]


@pytest.mark.parametrize("binding", [b for b in CATALOG if not b.custom], ids=lambda b: b.rpc)
def test_what_only_cbr_sets_is_never_sent_back(binding):
    """Every such field is a text; a rule refuses it of callers, and what was read first leaves it out."""
    shown = binding.request_type()
    fields = list(fill(shown, binding.descriptor.input_type))
    request = binding.request_type()
    for message in reachable(binding.descriptor.input_type):
        for fd in answer_only(message):
            rules = fd.GetOptions().Extensions[validate_pb2.field]
            assert [(rule.id, rule.expression) for rule in rules.cel] == [("answer_only", "this == ''")]
    request.CopyFrom(shown)
    for way in fields:
        empty(request, way)
    # What the object shows has the form of the request here: the same names all the way down.
    read = SimpleNamespace(descriptor=SimpleNamespace(output_type=binding.descriptor.input_type))
    assert b"set by CBR" not in msgspec.json.encode(completed(binding, request, read, binding.members(shown)))


def fill(message, descriptor, way=()):
    """Sets what only CBR sets, in messages that are no lists; yields the way to each."""
    for fd in descriptor.fields:
        if fd in answer_only(descriptor):
            setattr(message, fd.name, "set by CBR")
            yield (*way, fd.name)
        elif fd.message_type is not None and not fd.is_repeated and fd.message_type.file.package == descriptor.file.package:
            yield from fill(getattr(message, fd.name), fd.message_type, (*way, fd.name))


def empty(message, way):
    holder = message
    for name in way[:-1]:
        holder = getattr(holder, name)
    holder.ClearField(way[-1])
    holder.SetInParent()


BILLING = {
    "object_type": "OBJECT_TYPE_SERVER",
    "protect_type": "PROTECT_TYPE_BACKUP",
    "size_gib": 100,
    "consistent_level": "CONSISTENT_LEVEL_CRASH_CONSISTENT",
}


def vault(tags):
    return {"create_vault": {"vault": {"name": "v", "billing": BILLING, "tags": [{"key": f"k{n}", "value": ""} for n in range(tags)]}}}


@pytest.mark.parametrize(("tags", "warned"), [(10, []), (11, [("create_vault.vault.tags", "repeated.max_items")])])
def test_a_rule_that_is_not_sure_warns(tags, warned):
    binding = CATALOG["QuotaService/CheckQuota"]
    request = json_format.ParseDict(vault(tags), quota_pb2.CheckQuotaRequest())
    passed = parse(binding, request.SerializeToString())
    assert [(v.subject, v.rule) for v in warnings(binding, passed)] == warned
