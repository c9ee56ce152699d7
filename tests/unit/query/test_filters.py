"""The language of filters and orders: what it says of rows, and where it tells a mistake to be."""

import pytest
from cbrgateway.v1 import backup_pb2, types_pb2
from google.protobuf import field_mask_pb2, json_format

from gateway.errors import GatewayError
from gateway.query.grammar import parse
from gateway.query.mask import masked
from gateway.query.order import keys, ordered
from gateway.query.predicate import predicate

VAULT, BACKUP = types_pb2.Vault.DESCRIPTOR, backup_pb2.Backup.DESCRIPTOR


def vault(name, **more):
    return json_format.ParseDict({"id": name, "name": name, **more}, types_pb2.Vault())


VAULTS = [
    vault("web", billing={"size_gib": 100, "status": "VAULT_STATUS_AVAILABLE", "used_mib": 7}),
    vault("db", billing={"size_gib": 300, "status": "VAULT_STATUS_ERROR"}, auto_bind=True),
    vault("db copy", tags=[{"key": "env", "value": "prod"}, {"key": "team"}]),
    vault("AND", create_time="2026-01-31T12:00:00.5Z", smn_notify=False),
]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name = web", ["web"]),
        ('name="db copy"', ["db copy"]),
        ("name = 'db copy'", ["db copy"]),
        ("name != web", ["db", "db copy", "AND"]),
        ("name : db", ["db", "db copy"]),
        ("name = AND", ["AND"]),
        ("name > db AND name < web", ["db copy"]),
        ("billing.size_gib >= 100", ["web", "db"]),
        ("billing.size_gib < 300", ["web"]),
        ("billing.sizeGib < 300", ["web"]),
        ("autoBind = true", ["db"]),
        ("billing.size_gib = 100 OR name = AND", ["web", "AND"]),
        ("NOT billing.size_gib >= 100", ["db copy", "AND"]),
        ("NOT NOT name = web", ["web"]),
        ("NOT (name = web OR name = db)", ["db copy", "AND"]),
        ("name : db AND (billing.size_gib > 1 OR tags.key : env)", ["db", "db copy"]),
        ("billing.status = error", ["db"]),
        ("billing.status = VAULT_STATUS_ERROR", ["db"]),
        ("billing.status != ERROR", ["web", "db copy", "AND"]),
        ("auto_bind = true", ["db"]),
        ("auto_bind = false", ["web", "db copy", "AND"]),
        ("smn_notify = false", ["AND"]),
        ("tags.value : prod", ["db copy"]),
        ("tags.key : *", ["db copy"]),
        ("tags:*", ["db copy"]),
        ("NOT tags:*", ["web", "db", "AND"]),
        ("billing:*", ["web", "db"]),
        ('tags.key : "*"', []),
        ("billing.used_mib : *", ["web"]),
        ("create_time : *", ["AND"]),
        ("create_time >= 2026-01-31", ["AND"]),
        ("create_time > 2026-01-31T12:00:00Z", ["AND"]),
        ("create_time > 2026-01-31T20:00:00.5+08:00", []),
        ('create_time <= "2026-01-31T12:00:00.5Z"', ["AND"]),
        (r'name = "a\"b"', []),
    ],
)
def test_which_rows(text, names):
    keep = predicate(parse(text), VAULT)
    assert [row.name for row in VAULTS if keep(row)] == names


@pytest.mark.parametrize(
    ("text", "position", "told"),
    [
        ("name", 5, "one of = != < > <= >= : is expected"),
        ("name =", 7, "a value is expected"),
        ("= web", 1, "a field, NOT or `(`"),
        ("name = web db", 12, "AND, OR or the end"),
        ("name = web AND", 15, "a field, NOT or `(`"),
        ("(name = web", 1, "not closed"),
        ("(name = web db", 13, "AND, OR or `)`"),
        ("name = web)", 11, "AND, OR or the end"),
        ('name = "web', 8, "not closed"),
        ("name = web AND name = db OR name = x", 26, "mixed"),
        ("name ~ web", 6, "`~`"),
        ("nmae = web", 1, "did you mean `name`? Known: id, name, "),
        ("name = web AND billing.sizes = 1", 24, "did you mean `size_gib`?"),
        ("billing = web", 1, "billing.size_gib"),
        ("name.first = web", 6, "`name` has no fields"),
        ("extra_fields = 1", 1, "Known"),
        ("billing.size_gib = much", 20, "a number"),
        ("billing.status = BROKEN", 18, "use one of UNSPECIFIED, OTHER, AVAILABLE"),
        ("billing.status > ERROR", 1, "no order"),
        ("auto_bind = yes", 13, "true or false"),
        ("create_time > yesterday", 15, "a time such as"),
        ("create_time > 2026-13-01", 15, "a time such as"),
        ("tags.key = env", 1, "use `:`"),
        ("(" * 30 + "name = web" + ")" * 30, 22, "nested"),
        ("name = " + "x" * 3000, 2001, "at most 2000"),
        ("name = we*", 8, "is found by `:`"),
        ("name != *", 9, "quotation marks"),
        ("name = web AND tags.key : e*", 27, "`field:*`"),
    ],
)
def test_a_mistake_is_told_with_its_position(text, position, told):
    with pytest.raises(GatewayError) as raised:
        predicate(parse(text), VAULT)
    assert raised.value.violations[0].subject == "filter"
    assert f"position {position}: " in raised.value.message
    assert told in raised.value.message


def names_in(order):
    return [row.name for row in ordered(keys(order, VAULT))(VAULTS)]


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("name", ["AND", "db", "db copy", "web"]),
        ("name desc", ["web", "db copy", "db", "AND"]),
        ("billing.size_gib desc, name asc", ["db", "web", "AND", "db copy"]),
        ("create_time,name", ["db", "db copy", "web", "AND"]),
        ("auto_bind desc", ["db", "AND", "db copy", "web"]),
    ],
)
def test_orders(order, names):
    assert names_in(order) == names


@pytest.mark.parametrize(
    ("order", "position", "told"),
    [
        ("name, nmae", 7, "did you mean `name`"),
        ("name down", 6, "`down` is no order"),
        ("id,  name   down", 13, "`down` is no order"),
        ("name desc id", 11, "a comma is expected"),
        ("id, billing.sizes desc", 13, "did you mean `size_gib`"),
        ("name,,id", 6, "there is no field ``"),
        ("id,name,description,project_id,user_id,create_time", 40, "at most 5"),
        ("tags.key", 1, "several values"),
    ],
)
def test_a_mistake_in_an_order_is_told_with_its_position(order, position, told):
    with pytest.raises(GatewayError) as raised:
        keys(order, VAULT)
    assert raised.value.violations[0].subject == "order_by"
    assert f"position {position}: " in raised.value.message
    assert told in raised.value.message


def test_a_mask_leaves_the_fields_that_it_names():
    row = vault("web", description="d", billing={"size_gib": 5, "used_mib": 6}, tags=[{"key": "k"}])
    clear = masked(field_mask_pb2.FieldMask(paths=["id", "billing.size_gib", "tags"]), VAULT)
    clear(row)
    assert json_format.MessageToDict(row, preserving_proto_field_name=True) == {
        "id": "web",
        "billing": {"size_gib": 5},
        "tags": [{"key": "k"}],
    }
    assert masked(field_mask_pb2.FieldMask(paths=["*"]), VAULT) is None


@pytest.mark.parametrize(
    ("paths", "where"),
    [
        (["id", "nmae"], "read_mask.paths[1]"),
        (["name.x"], "read_mask.paths[0]"),
        (["tags.key"], "read_mask.paths[0]"),
        ([], "read_mask"),
    ],
)
def test_a_mask_of_what_is_not_there_is_refused(paths, where):
    with pytest.raises(GatewayError) as raised:
        masked(field_mask_pb2.FieldMask(paths=paths), BACKUP)
    assert raised.value.violations[0].subject == where
