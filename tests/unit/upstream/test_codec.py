"""The codec over every message type of the API: what it writes it reads back, and nothing that comes in breaks it."""

from functools import cache

import msgspec
import pytest
from cbrgateway.v1 import backup_pb2, checkpoint_pb2, region_pb2, types_pb2, vault_pb2
from google.protobuf import json_format, struct_pb2, timestamp_pb2
from google.protobuf.message_factory import GetMessageClass
from google.type import date_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError, reason_name
from gateway.upstream import codec, strict_json, values
from gateway.upstream.catalog import load_catalog
from gateway.upstream.codec import Codecs, ProtocolError
from tests.unit.upstream.messages import FIRST_SECOND, LAST_SECOND, as_struct, json_values, messages, text, types_below

CATALOG = load_catalog()
CODECS = Codecs()
REQUESTS = types_below(binding.descriptor.input_type for binding in CATALOG)
RESPONSES = types_below(binding.descriptor.output_type for binding in CATALOG)
EVERY = types_below([*REQUESTS, *RESPONSES])
few = settings(max_examples=10, deadline=None)

every_type = pytest.mark.parametrize("descriptor", EVERY, ids=lambda d: d.name)
every_binding = pytest.mark.parametrize("binding", list(CATALOG), ids=lambda b: b.rpc)


def through_json(value):
    return strict_json.loads(msgspec.json.encode(value))


def without_nulls(message):
    """The message as CBR's JSON can tell it: a field that stands for null reads as unset."""
    for field, value in list(message.ListFields()):
        null_value = field.message_type is not None and field.message_type.name == "Value" and not field.is_repeated and value.HasField("null_value")
        if codec._is_null(field) or null_value:
            message.ClearField(field.name)
        elif field.message_type is not None and field.message_type.file.package == "cbrgateway.v1":
            for item in value if field.is_repeated else [value]:
                without_nulls(item)
    return message


def test_there_are_many_types_to_hold():
    assert len(REQUESTS) > 90
    assert len(EVERY) > 200


@pytest.mark.parametrize("descriptor", [d for d in EVERY if not CODECS.plan(d).whole_body], ids=lambda d: d.name)
@given(data=st.data())
@few
def test_what_is_written_is_read_back(data, descriptor):
    message = data.draw(messages(descriptor))
    plan = CODECS.plan(descriptor)
    again = GetMessageClass(descriptor)(**plan.read(through_json(plan.write(message))))
    assert again == without_nulls(message)


WILD = (
    json_values
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([10**400, "", "null", "[]", "2025-13-01T00:00:00", "9" * 30, "NaN", 2**31, 2**63, 2025, "2025-01-01"])
)


@cache
def answers(descriptor, depth=3):
    """JSON objects of a few of the right keys, with values some of which are right."""
    members = [st.tuples(text, WILD)]
    for fd in descriptor.fields:
        value = WILD
        if fd.message_type is not None and fd.message_type.file.package == "cbrgateway.v1" and depth:
            value = answers(fd.message_type, depth - 1) | WILD
        members.append(st.tuples(st.just(codec.json_key(fd)), st.lists(value, max_size=2) | value))
    return st.lists(st.one_of(members), max_size=4).map(dict)


@every_type
@given(data=st.data())
@few
def test_a_wrong_answer_is_a_protocol_error_and_nothing_else(data, descriptor):
    plan = CODECS.plan(descriptor)
    binding = next((b for b in CATALOG if b.descriptor.output_type is descriptor), None)
    answer = data.draw(answers(descriptor))
    try:
        if binding is None:
            GetMessageClass(descriptor)(**plan.read(answer)).SerializeToString()
        else:
            binding.response(answer).SerializeToString()
    except ProtocolError:
        pass
    except OverflowError:
        assert binding is None


@every_binding
@given(data=st.data())
@few
def test_any_request_is_sent_as_strict_json_or_refused_with_its_field(data, binding):
    request = data.draw(messages(binding.descriptor.input_type, hostile=True))
    members, error = attempt(binding.members, request)
    if error is None:
        assert through_json(members) == members
    else:
        assert reason_name(error.reason) == "FIELD_INVALID"
        assert error.violations[0].subject.partition(".")[0].partition("[")[0] in binding.descriptor.input_type.fields_by_name


def attempt(act, *arguments):
    """(result, None) or (None, GatewayError)."""
    try:
        return act(*arguments), None
    except GatewayError as error:
        return None, error


@given(st.integers(FIRST_SECOND, LAST_SECOND))
def test_times_are_written_as_json_format_writes_them(seconds):
    moment = timestamp_pb2.Timestamp(seconds=seconds)
    assert values.write_timestamp(moment) == moment.ToJsonString()


@given(st.datetimes(), st.sampled_from(["", "Z", "+00:00", "+08:00", "-05:30"]), st.sampled_from(["T", " "]))
def test_times_are_read_as_json_format_reads_them(moment, zone, separator):
    written = moment.isoformat(sep=separator) + zone
    wanted = timestamp_pb2.Timestamp()
    try:
        wanted.FromJsonString(moment.isoformat() + (zone or "Z"))
    except ValueError:
        return  # Shifted by its zone out of the years 1 to 9999.
    assert timestamp_pb2.Timestamp(**values.read_timestamp(written)) == wanted


@given(st.dictionaries(text, json_values, max_size=4))
def test_free_form_json_is_read_and_written_as_json_format_does(document):
    struct = json_format.ParseDict(document, struct_pb2.Struct())
    assert struct_pb2.Struct(fields={key: values.read_value(value) for key, value in document.items()}) == struct
    assert values.write_struct(struct) == json_format.MessageToDict(struct) == document


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1, 2**53 + 1, 0, 1])
def test_int64_keeps_every_digit_and_is_a_number_on_the_wire(number):
    plan = CODECS.plan(types_pb2.Billing.DESCRIPTOR)
    written = msgspec.json.encode(plan.write(types_pb2.Billing(used_mib=number)))
    assert written == (b'{"used":%d}' % number if number else b"{}")
    assert types_pb2.Billing(**plan.read({"used": number})).used_mib == number


@pytest.mark.parametrize(
    ("message", "answer", "problem"),
    [
        (types_pb2.Vault, {"billing": {"size": 2**31}}, "billing.size must be a whole number of 32 bits"),
        (types_pb2.Vault, {"billing": {"used": 2**63}}, "billing.used must be a whole number of 64 bits"),
        (types_pb2.Vault, {"billing": {"size": 1.0}}, "billing.size must be a whole number"),
        (types_pb2.Vault, {"billing": {"size": "1"}}, "billing.size must be a whole number"),
        (types_pb2.Vault, {"billing": {"size": True}}, "billing.size must be a whole number"),
        (types_pb2.Vault, {"billing": []}, "billing must be an object"),
        (types_pb2.Vault, {"name": 5}, "name must be a string"),
        (types_pb2.Vault, {"auto_bind": 1}, "auto_bind must be true or false"),
        (types_pb2.Vault, {"created_at": "yesterday"}, "created_at must be a time"),
        (types_pb2.Vault, {"created_at": 5}, "created_at must be a time"),
        (types_pb2.Vault, {"tags": {}}, "tags must be an array"),
        (types_pb2.Vault, {"bind_rules": None, "resources": [{"size": []}]}, "resources.size must be a whole number"),
        (types_pb2.Vault, {"billing": {"status": 3}}, "billing.status must be a string"),
        (backup_pb2.BackupSyncSpec, {"created_at": 2**60}, "created_at must be a time in seconds since 1970"),
        (checkpoint_pb2.CheckpointResource, {"resource_size": "NaN"}, "resource_size must be a number or bool in a string"),
        (checkpoint_pb2.CheckpointResource, {"resource_size": "1_0"}, "resource_size must be a number or bool in a string"),
        (checkpoint_pb2.CheckpointResource, {"resource_size": "9" * 5000}, "resource_size must be a number or bool in a string"),
        (checkpoint_pb2.CheckpointResource, {"resource_size": str(2**63)}, "resource_size must be a number or bool in a string"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_member_is_named(message, answer, problem):
    with pytest.raises(ProtocolError) as caught:
        CODECS.plan(message.DESCRIPTOR).read(answer)
    assert str(caught.value) == problem


@pytest.mark.parametrize("body", [None, [], "text", 5, True])
def test_an_answer_that_is_no_object_is_refused(body):
    with pytest.raises(ProtocolError, match="must be an object"):
        CATALOG["VaultService/GetVault"].response(body)


def test_a_number_beyond_doubles_in_free_form_json_is_refused():
    with pytest.raises(ProtocolError, match="out of range"):
        CATALOG["VaultService/GetVault"].response({"vault": {"news": 10**400}})


def test_an_unknown_word_is_kept_and_sent_back():
    plan = CODECS.plan(types_pb2.Billing.DESCRIPTOR)
    billing = types_pb2.Billing(**plan.read({"status": "melting"}))
    assert (billing.status, billing.status_raw) == (codec.OTHER, "melting")
    assert plan.write(billing) == {"status": "melting"}


def test_unknown_keys_are_kept_or_reported_and_never_echoes_of_paging():
    reported = []
    plans = Codecs(lambda message, key: reported.append((message, key)))
    found = plans.plan(vault_pb2.ListVaultsResponse.DESCRIPTOR).read({"vaults": [{"news": 1}], "surprise": 1, "limit": 50, "offset": 0})
    assert found == {"vaults": [{"extra_fields": {"news": 1}}]}
    assert reported == [("cbrgateway.v1.ListVaultsResponse", "surprise")]


def test_null_means_not_set_in_an_answer():
    plan = CODECS.plan(types_pb2.Vault.DESCRIPTOR)
    assert plan.read(dict.fromkeys(plan.readers)) == {}


@pytest.mark.parametrize("document", [None, 5, "text", [], [None], {"a": None}])
def test_a_document_in_a_string_may_be_any_json(document):
    answer = {"server": msgspec.json.encode(document).decode()}
    response = CATALOG["BackupService/GetBackupMetadata"].response(answer)
    assert json_format.MessageToDict(response) == {"server": document}


@pytest.mark.parametrize(
    ("rpc", "request_", "path", "rule"),
    [
        ("TaskService/ListTasks", {"start_time": timestamp_pb2.Timestamp(seconds=2**62)}, "start_time", "timestamp"),
        ("RegionService/MigrateDomain", {"reservation_ratio": float("nan")}, "reservation_ratio", "finite"),
        ("VaultService/UpdateBackupExpiration", {"expiration_date": date_pb2.Date(year=2025, month=2, day=30)}, "expiration_date", "date"),
        ("VaultService/ListVaults", {"resource_ids": ["a,b"]}, "resource_ids", "comma"),
        ("VaultService/ListVaults", {"resource_ids": [""]}, "resource_ids", "comma"),
        ("VaultService/ListVaults", {"status": 99}, "status", "enum"),
        ("VaultService/ListVaults", {"status": 1}, "status", "enum"),
        ("VaultService/CreateVault", {"vault": {"billing": {"object_type": 99}}}, "vault.billing.object_type", "enum"),
        ("BackupService/SyncBackups", {"sync": [{"create_time": {"seconds": 2**62}}]}, "sync[0].create_time", "timestamp"),
    ],
)
def test_a_value_without_a_form_is_refused_by_its_path(rpc, request_, path, rule):
    binding = CATALOG[rpc]
    with pytest.raises(GatewayError) as caught:
        binding.members(binding.request_type(**request_))
    (violation,) = caught.value.violations
    assert (violation.subject, violation.rule) == (path, rule)


def test_whole_bodies_are_kept_as_they_are():
    answer = {"feature.a": True, "feature.b": ["x", None]}
    response = CATALOG["FeatureService/ListFeatures"].response(answer)
    assert response.features == as_struct(answer)
    assert region_pb2.GetMigrationStatusResponse is not type(response)
