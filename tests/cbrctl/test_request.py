"""From what is typed to a request, without a gateway."""

import cbrgateway.v1
import jsonschema
import pytest
import yaml
from google.protobuf import json_format

from cbrctl import index, values
from cbrctl.failures import Failed
from cbrctl.fields import type_of
from cbrctl.request import built, from_file, parameter, with_ids
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
        ("vault: {billing: {object_type: on}}", "object_type: must be one of server, disk"),
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
    (tmp_path / "f").write_text("vault: {name: null, autoBind: true, billing: {sizeGib: '10'}}\n")
    request = built(CREATE, typed(CREATE, auto_bind=False), tmp_path / "f")
    assert request == {"vault": {"auto_bind": False, "billing": {"size_gib": 10}}}


WRITTEN = {
    "a short word": ("vaults create", "vault: {billing: {object_type: server}}", "server"),
    "a whole word": ("vaults create", "vault: {billing: {object_type: OBJECT_TYPE_SERVER}}", None),
    "a duration": ("tasks wait", "timeout: 1d12h", "1d12h"),
    "seconds": ("tasks wait", "timeout: 90", "90"),
    "a duration of JSON": ("tasks wait", "timeout: 1.5s", "1.5s"),
    "a time": ("backups list", "end_time: 2026-11-28T12:00:00+08:00", "2026-11-28T12:00:00+08:00"),
    "a day for a time": ("backups list", "end_time: 2026-11-28", "2026-11-28"),
    "a day": ("vaults update-backup-expiration", "expiration_date: 2026-11-28", "2026-11-28"),
    "a mask": ("vaults list", "read_mask: id,billing.size_gib", "id,billing.size_gib"),
    "a type": ("vaults add-resources", "resources: [{id: a, type: server}]", None),
    "a whole type": ("vaults add-resources", "resources: [{id: a, type: 'OS::New::One'}]", None),
    "a switch": ("vaults create", 'vault: {auto_bind: "true"}', None),
    "a number of 64 bits": ("vaults create", 'vault: {billing: {size_gib: "20"}}', None),
}


@pytest.mark.parametrize(("verb", "text", "flag"), WRITTEN.values(), ids=[*WRITTEN])
def test_a_file_takes_what_flags_take_and_so_does_its_schema(tmp_path, verb, text, flag):
    verb = index.verb(*verb.split())
    (tmp_path / "f").write_text(text)
    of_file = from_file(tmp_path / "f", verb.request)
    ready = json_format.ParseDict(of_file, request_type(verb)())
    schema_of = jsonschema.Draft202012Validator(schema(verb.request))
    assert "description" in schema_of.schema["$defs"][verb.request]
    if '"' not in text:
        schema_of.validate(yaml.load(text, yaml.BaseLoader if flag else yaml.SafeLoader))
    if flag:
        path = leaf(of_file)
        (given,) = (each for each in verb.flags if tuple(each.path) == path)
        converted = type_of(given).convert(flag, None, None)
        assert json_format.ParseDict(nested(path, converted), request_type(verb)()) == ready


def leaf(request):
    """Where the one field of a request is."""
    path = []
    while isinstance(request, dict) and len(request) == 1:
        ((name, request),) = request.items()
        path.append(name)
    return tuple(path)


def nested(path, value):
    for part in reversed(path):
        value = {part: value}
    return value


def request_type(verb):
    return getattr(cbrgateway.v1, verb.request)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeout: 1y", "timeout: must be a duration such as 20, 1.5s, 90m, 12h, 2d or 1d12h"),
        ("timeout: true", "timeout: must be a duration"),
        ("timeout: -5s", "timeout: must be a duration"),
        ("taskId: a\ntask_id: b", "task_id: is there twice, as task_id and as taskId; keep one"),
    ],
)
def test_what_no_flag_takes_is_not_taken_from_a_file(tmp_path, text, said):
    (tmp_path / "f").write_text(text)
    with pytest.raises(Failed, match=said):
        from_file(tmp_path / "f", "WaitTaskRequest")


class Named:
    """A gateway with one vault of each name."""

    def call(self, rpc, request):
        assert rpc == "VaultService/ListVaults"
        return {"vaults": [{"id": f"id-of-{request['name']}", "name": request["name"]}]}


def test_names_stand_for_ids_in_a_file_and_behind_flags(tmp_path):
    verb = index.verb("checkpoints", "create")
    (tmp_path / "f").write_text("checkpoint: {vaultId: first}")
    of_file = with_ids(verb, built(verb, {}, tmp_path / "f"), Named())
    assert of_file == {"checkpoint": {"vault_id": "id-of-first"}}
    of_flag = with_ids(verb, built(verb, typed(verb, vault_id="second"), None), Named())
    assert of_flag == {"checkpoint": {"vault_id": "id-of-second"}}


def test_a_type_is_a_short_word_or_whole_and_both_ways_are_told():
    verb = index.verb("vaults", "add-resources")
    pair = values.message("id=a,type=Server")
    given = {"field__vault_id": "v"} | typed(verb, resources=(pair,))
    assert built(verb, given, None)["resources"] == [{"id": "a", "type": "OS::Nova::Server"}]
    given = {"field__vault_id": "v"} | typed(verb, resources=({"type": "disk"},))
    with pytest.raises(Failed, match=r"type: must be one of server, volume,.* or begin with OS::"):
        built(verb, given, None)


def test_what_is_inside_of_pairs_is_read_like_flags():
    verb = index.verb("vaults", "batch-update-tags")
    pair = values.message("key=env,value=test")
    given = typed(verb, action="TAG_ACTION_CREATE", tags=(pair,)) | {"field__vault_id": "v"}
    assert built(verb, given, None)["tags"] == [pair]
    pair = values.message("nmae=env")
    given = typed(verb, tags=(pair,)) | {"field__vault_id": "v"}
    with pytest.raises(Failed, match=r"tags\[0\].nmae: .* no such field"):
        built(verb, given, None)


def test_an_editor_s_schema_takes_what_is_right_and_nothing_else():
    checked = jsonschema.Draft202012Validator(schema("CreateVaultRequest"))
    for word in ("OBJECT_TYPE_SERVER", "server"):
        billing = {"size_gib": 10, "object_type": word}
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
    assert values.message("key=a,value=b=c") == {"key": "a", "value": "b=c"}
    assert values.message("id=1,extra_info.os=x") == {"id": "1", "extra_info": {"os": "x"}}
    assert values.message('{"key": "a,b"}') == {"key": "a,b"}


@pytest.mark.parametrize(
    ("parse", "good", "value"),
    [
        (values.time, "2026-11-28", "2026-11-28T00:00:00Z"),
        (values.time, "2026-11-28T01:02:03+08:00", "2026-11-28T01:02:03+08:00"),
        (values.date, "2026-11-28", {"year": 2026, "month": 11, "day": 28}),
        (values.duration, "1.5", "1.5s"),
        (values.duration, "20s", "20s"),
        (values.duration, "90m", "5400s"),
        (values.duration, "12h", "43200s"),
        (values.duration, "2d", "172800s"),
        (values.duration, "1d12h0.5s", "129600.5s"),
        (values.duration, "1w", "604800s"),
        (values.mask, "id,billing.size_gib", "id,billing.sizeGib"),
    ],
)
def test_times_are_written_as_people_write_them(parse, good, value):
    assert parse(good) == value


@pytest.mark.parametrize(
    ("parse", "bad"),
    [
        (values.time, "2026-11-28T01:02:03"),
        (values.time, "2026-13-28"),
        (values.time, "yesterday"),
        (values.date, "28.11.2026"),
        (values.date, "2026-02-30"),
        (values.duration, "1y"),
        (values.duration, "12h1d"),
        (values.duration, ""),
        (values.mask, "id, name"),
        (values.message, "a"),
        (values.message, "=b"),
        (values.message, "a=1,a.b=2"),
        (values.message, "{"),
    ],
)
def test_what_is_none_says_what_is_wanted(parse, bad):
    with pytest.raises(ValueError, match=r"^must "):
        parse(bad)
