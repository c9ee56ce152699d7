"""The form of the records: OCSF, one line of ASCII whatever is in it, and nothing shown that is not
allowed.
"""

import importlib.util
import json
import os
import random
from pathlib import Path

import pytest
from cbrgateway.v1 import vault_pb2
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from jsonschema import Draft202012Validator

from gateway.audit import events
from gateway.audit.call_record import Activity, Caller, Declared, Level
from gateway.audit.chain import Head, Keys, ascii_json, follows, seal
from gateway.audit.events import CATALOGUE, own_record
from gateway.audit.redaction import MAX_ITEMS, Redactor
from gateway.operations import load_catalog
from tests.audit.scenes import SCHEMA, VALID

ROOT = Path(__file__).parents[2]
KEY = Keys.of("a-key-for-tests-with-enough-characters").redaction
HOSTILE = int(os.environ.get("AUDIT_SOAK", "0")) * 1000 or 500
REDACTOR = Redactor(KEY)


def script():
    spec = importlib.util.spec_from_file_location("audit_page", ROOT / "scripts" / "audit_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_and_the_catalogue_are_in_step_with_the_code():
    page = script()
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "run `make generate`"
    assert page.SCHEMA.read_text(encoding="utf-8") == json.dumps(page.schema(), indent=2) + "\n", (
        "run `make generate`"
    )


def test_every_example_is_a_valid_record_of_its_event():
    Draft202012Validator.check_schema(SCHEMA)
    found = script().lines()
    assert [event for event, _ in found] == list(CATALOGUE)
    for event, line in found:
        record = json.loads(line)
        VALID.validate(record)
        assert (record["metadata"]["event_code"], record["unmapped"]["stage"]) == (
            event.code,
            event.stage,
        )


def test_codes_and_names_are_used_once():
    assert (
        len({event.code for event in CATALOGUE})
        == len({event.name for event in CATALOGUE})
        == len(CATALOGUE)
    )
    declared = {value for value in vars(events).values() if isinstance(value, events.Event)}
    assert declared == set(CATALOGUE)


PIECES = [
    "\r\n",
    "\n",
    "\x1b[2J",
    "\u2028",
    "\u2029",
    "\ud800",
    "\udfff",
    "\ud83d",
    "\U0001f600",
    "\x00",
    "\x7f",
    "\x85",
    '"',
    "\\",
    "\\ud800",
    "é",
    "a",
    "}",
]


def hostile(rnd):
    return "".join(rnd.choice(PIECES) for _ in range(rnd.randrange(1, 12)))


def test_hostile_text_stays_in_one_line_that_every_parser_reads():
    seed = random.randrange(1 << 32)
    rnd, head = random.Random(seed), Head()
    for _ in range(HOSTILE):
        text = hostile(rnd)
        rpc = Declared(
            text,
            "other",
            reads=False,
            verb="GET",
            path=text,
            operation=text,
            permission=text,
            level=Level.REQUEST,
        )
        caller = Caller(ip=text, tenant=text, principal=text, via=(text,), decision="Allowed")
        activity = Activity(
            "uid",
            rpc,
            caller,
            1.0,
            Level.REQUEST,
            resources=((text, text),),
            request_id=text,
            request={text: [text]},
            code=0,
        )
        line, head = seal(KEY, head, activity.body(events.CHANGE_ENDED))
        assert line.isascii(), seed
        assert line[:-1].decode().isprintable(), seed
        assert line.endswith(b"}}\n"), seed
        record = json.loads(line)
        VALID.validate(record)
        clean = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        assert record["resources"] == [{"type": clean, "uid": clean}], seed
        assert record["api"]["request"]["data"] == {clean: [clean]}, seed


def test_a_text_cannot_pass_for_the_end_of_a_line():
    forged = '","sequence":7,"mac":"' + "0" * 64 + '"}}'
    line, head = seal(KEY, Head(), own_record(events.LOG_CLOSED, torn_file=forged))
    assert (head.sequence, json.loads(line)["unmapped"]["torn_file"]) == (1, forged)
    assert follows(KEY, bytes(32), line[:-1])


def test_only_what_is_allowed_is_shown():
    request = vault_pb2.CreateVaultRequest(
        vault={
            "name": "seen",
            "description": "hidden-text",
            "tags": [{"key": "team", "value": "hidden-value"}],
            "billing": {"size_gib": 7},
        },
        request_id="r-1",
    )
    shown = REDACTOR.message(request)
    assert shown["vault"]["name"] == "seen"
    assert shown["vault"]["billing"] == {"size_gib": 7}
    assert shown["request_id"] == "r-1"
    assert shown["vault"]["tags"][0]["key"] == "team"
    assert shown["vault"]["tags"][0]["value"].startswith("hmac:")
    assert (
        shown["vault"]["description"]
        == REDACTOR.hashed("hidden-text")
        != Redactor(b"other").hashed("hidden-text")
    )
    assert "hidden" not in json.dumps(shown)


def test_what_is_too_much_is_cut():
    many = vault_pb2.CreateVaultRequest(
        vault={"resources": [{"id": f"id-{n}", "type": "t"} for n in range(MAX_ITEMS + 5)]}
    )
    resources = REDACTOR.message(many)["vault"]["resources"]
    assert (len(resources), resources[-1]) == (MAX_ITEMS + 1, "and 5 more")
    wide = vault_pb2.ListVaultsRequest(name="x" * 40_000)
    assert set(REDACTOR.message(wide)) == {"too_long", "hash"}


def test_a_secret_field_is_hidden_although_its_name_is_allowed():
    file = descriptor_pb2.FileDescriptorProto(
        name="secret_test.proto",
        package="cbrgateway.v1",
        dependency=["cbrgateway/v1/options.proto"],
        syntax="proto3",
    )
    message = file.message_type.add(name="Guarded")
    for number, name in enumerate(("vault_id", "token"), start=1):
        field = message.field.add(name=name, number=number, type=9, label=1)
        # Field 51205 of FieldOptions is `secret`.
        field.options.MergeFromString(bytes.fromhex("a8801901") if name == "vault_id" else b"")
    pool = descriptor_pool.Default()
    pool.Add(file)
    guarded = message_factory.GetMessageClass(pool.FindMessageTypeByName("cbrgateway.v1.Guarded"))(
        vault_id="canary-1", token="canary-2"
    )
    found = Redactor(KEY, {"Guarded": frozenset({"token"})}).message(guarded)
    assert found == {"vault_id": REDACTOR.hashed("canary-1"), "token": "canary-2"}


def test_what_may_be_shown_exists():
    known: dict[str, set[str]] = {}

    def walk(descriptor):
        if descriptor.name not in known and descriptor.full_name.startswith("cbrgateway."):
            known[descriptor.name] = {
                field.name for field in descriptor.fields if field.type == field.TYPE_STRING
            }
            for field in descriptor.fields:
                if field.message_type is not None:
                    walk(field.message_type)

    for binding in load_catalog():
        walk(binding.descriptor.input_type)
        walk(binding.descriptor.output_type)
    assert {
        (name, field)
        for name, fields in REDACTOR.shown.items()
        for field in fields
        if field not in known.get(name, ())
    } == set()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**63, True])
def test_odd_numbers_leave_a_parseable_record(value):
    assert json.loads(ascii_json({"value": value}))["value"] in {None, 2**63, True}
