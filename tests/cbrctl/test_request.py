"""From what is typed to a request, without a gateway."""

import jsonschema
import pytest

from cbrctl import fields, index
from cbrctl.failures import Failed
from cbrctl.request import built, parameter
from cbrctl.schema import schema

CREATE = index.verb("vaults", "create")


def typed(verb, **values):
    """As click hands them out."""
    by_name = {each.name.replace("-", "_"): each for each in (*verb.arguments, *verb.flags)}
    return {parameter(by_name[name]): value for name, value in values.items()}


def test_flags_go_where_the_fields_are():
    request = built(CREATE, typed(CREATE, name="a", size_gib=10, tags=({"key": "k"},)), None)
    assert request == {"vault": {"name": "a", "billing": {"size_gib": 10}, "tags": [{"key": "k"}]}}


def test_a_file_is_the_request_and_flags_go_over_it(tmp_path):
    (tmp_path / "vault.yaml").write_text(
        "vault:\n  name: of-file\n  description: 2026-11-28\n  billing: {size_gib: 5}\n"
    )
    request = built(CREATE, typed(CREATE, size_gib=10, tags=()), tmp_path / "vault.yaml")
    assert request == {
        "vault": {"name": "of-file", "description": "2026-11-28", "billing": {"size_gib": 10}}
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not YAML"),
        ("- a", "must hold the fields of one request"),
        ("vault: 1", "vault: must hold the fields of a VaultSpec"),
        ("vault: {nmae: x}", r"vault.nmae: VaultSpec has no such field; do you mean name\?"),
        ("vault: {}\n1: 2", "1: CreateVaultRequest has no such field; there is: vault, request_id"),
        ("vault: {name: 5}", "vault.name: must be text; put it into quotes"),
        ("vault: {name: [x]}", "vault.name: must be text"),
        ("vault: &a {name: *a}", "vault.name: must be text"),
        ("vault: {billing: {size_gib: true}}", "vault.billing.size_gib: must be a whole number"),
        ("vault: {billing: {object_type: on}}", "object_type: must be one of .*OBJECT_TYPE_SERVER"),
        ("vault: {billing: {protect_type: 1.5}}", "protect_type: must be one of "),
        ("vault: {tags: {key: a}}", "vault.tags: must be a list"),
        ("vault: {tags: [a]}", r"vault.tags\[0\]: must hold the fields of a Tag"),
        ("vault: {autoBind: 1}", "vault.autoBind: must be true or false"),
        ("a: !!python/object:os.system {}", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(tmp_path, text, said):
    (tmp_path / "f").write_text(text)
    with pytest.raises(Failed, match=said):
        built(CREATE, typed(CREATE, name="a"), tmp_path / "f")
    with pytest.raises(Failed, match="cannot be read"):
        built(CREATE, {}, tmp_path / "nothing")


def test_every_wrong_field_of_a_file_is_named(tmp_path):
    (tmp_path / "f").write_text("vault: {nmae: x, billing: {size_gib: []}}\nvalut: {}\n")
    with pytest.raises(Failed) as failed:
        built(CREATE, {}, tmp_path / "f")
    assert failed.value.message.count("\n  ") == 3


def test_null_is_a_field_that_is_not_set_and_both_names_are_taken(tmp_path):
    (tmp_path / "f").write_text("vault: {name: null, autoBind: true, billing: {size_gib: '10'}}\n")
    assert built(CREATE, {}, tmp_path / "f")["vault"]["autoBind"] is True


def test_an_editor_s_schema_takes_what_is_right_and_nothing_else():
    checked = jsonschema.Draft202012Validator(schema("CreateVaultRequest"))
    billing = {"size_gib": 10, "object_type": "OBJECT_TYPE_SERVER"}
    checked.validate({"vault": {"name": "a", "billing": billing, "tags": [{"key": "k"}]}})
    for wrong in (
        {"valut": {}},
        {"vault": {"nmae": "a"}},
        {"vault": {"billing": {"object_type": True}}},
        {"vault": {"tags": [{"name": "k"}]}},
    ):
        assert not checked.is_valid(wrong)


def test_every_request_has_a_schema():
    for name in index.messages():
        if name.endswith("Request"):
            jsonschema.Draft202012Validator.check_schema(schema(name))


def test_all_arguments_that_are_missing_are_named_together():
    verb = index.verb("backup-members", "get")
    with pytest.raises(Failed, match="Missing: BACKUP, MEMBER"):
        built(verb, {}, None)


def test_objects_are_written_as_pairs_or_as_json():
    assert fields.message("key=a,value=b=c") == {"key": "a", "value": "b=c"}
    assert fields.message("id=1,extra_info.os=x") == {"id": "1", "extra_info": {"os": "x"}}
    assert fields.message('{"key": "a,b"}') == {"key": "a,b"}


@pytest.mark.parametrize(
    ("parse", "good", "value"),
    [
        (fields.time, "2026-11-28", "2026-11-28T00:00:00Z"),
        (fields.time, "2026-11-28T01:02:03+08:00", "2026-11-28T01:02:03+08:00"),
        (fields.date, "2026-11-28", {"year": 2026, "month": 11, "day": 28}),
        (fields.duration, "1.5", "1.5s"),
        (fields.duration, "20s", "20s"),
        (fields.duration, "90m", "5400s"),
        (fields.duration, "12h", "43200s"),
        (fields.duration, "2d", "172800s"),
        (fields.duration, "1d12h0.5s", "129600.5s"),
        (fields.duration, "1w", "604800s"),
        (fields.mask, "id,billing.size_gib", "id,billing.sizeGib"),
    ],
)
def test_times_are_written_as_people_write_them(parse, good, value):
    assert parse(good) == value


@pytest.mark.parametrize(
    ("parse", "bad"),
    [
        (fields.time, "2026-11-28T01:02:03"),
        (fields.time, "2026-13-28"),
        (fields.time, "yesterday"),
        (fields.date, "28.11.2026"),
        (fields.date, "2026-02-30"),
        (fields.duration, "1y"),
        (fields.duration, "12h1d"),
        (fields.duration, ""),
        (fields.mask, "id, name"),
        (fields.message, "a"),
        (fields.message, "=b"),
        (fields.message, "a=1,a.b=2"),
        (fields.message, "{"),
    ],
)
def test_what_is_none_says_what_is_wanted(parse, bad):
    with pytest.raises(ValueError, match="is n"):
        parse(bad)
