"""The gateway's own mark on what it creates is in nobody's way: callers neither see it nor meet it."""

import json
from pathlib import Path

import pytest

from emulator.transitions import Mode, Pace
from gateway.quota import unmarked
from gateway.upstream import strict_json
from gateway.upstream.catalog import load_catalog
from tests.functional import stage
from tests.functional.calls import caller
from tests.harness import running_gateway

EXAMPLES = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((Path(__file__).parents[1] / "examples").glob("*.json"))]
CATALOG = load_catalog()
TEN = [{"key": f"key-{number}", "value": "v"} for number in range(10)]


@pytest.fixture(scope="module")
async def marking_world():
    async with running_gateway(sections={"quota": {"markers": True, "recovery": False}}, pace=Pace(Mode.IMMEDIATE)) as world:
        yield world


@pytest.fixture
def world(marking_world):
    marking_world.emulator.state.reset()
    return marking_world


@pytest.fixture
def payments(world):
    return caller(world)


def tags_of(world, vault_id):
    """As CBR has them."""
    return set(world.emulator.state.world.vaults[vault_id].tags)


async def made(payments, *keys):
    return await stage.vault(payments, tags=[{"key": key, "value": "v"} for key in keys])


async def found(payments, **filters):
    """The names that a query finds; counting must tell the same."""
    page = await payments.ok("VaultService/QueryVaultsByTag", {"action": "TAG_QUERY_ACTION_FILTER", **filters})
    counted = await payments.ok("VaultService/QueryVaultsByTag", {"action": "TAG_QUERY_ACTION_COUNT", **filters})
    assert counted.total_size == page.total_size == len(page.resources)
    assert not counted.resources
    assert "gw-op" not in str(page)
    return {row.resource_id for row in page.resources}


async def test_no_answer_shows_it(world, payments):
    held = await made(payments, "team")
    assert tags_of(world, held.id) == {"team", "gw-op"}
    await payments.ok("CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": (await stage.vault(payments, 1)).id}})
    backup = next(iter(world.emulator.state.world.backups.values()))
    assert backup.description.startswith("gw-op ")
    listed = await payments.ok("VaultService/ListVaultTags", {"vault_id": held.id})
    assert ([tag.key for tag in listed.tags], listed.total_size) == (["team"], 1)
    keys = await payments.ok("VaultService/ListProjectVaultTags")
    assert ([row.key for row in keys.tags], keys.total_size) == (["team"], 1)
    answers = [
        held,
        await payments.ok("VaultService/GetVault", {"vault_id": held.id}),
        await payments.ok("VaultService/ListVaults"),
        await payments.ok("VaultService/UpdateVault", {"vault_id": held.id, "vault": {"name": "other"}}),
        await payments.ok("BackupService/ListBackups"),
        await payments.ok("BackupService/GetBackup", {"backup_id": backup.id}),
        await payments.ok("CheckpointService/GetCheckpoint", {"checkpoint_id": backup.checkpoint_id}),
        await payments.ok("ProtectabilityService/ListProtectables", {"protectable_type": "PROTECTABLE_TYPE_SERVER"}),
    ]
    assert [answer for answer in answers if "gw-op" in str(answer)] == []


def planted(value):
    """A JSON answer with the mark wherever it could be: among tags, as a description, and in members without a field."""
    if isinstance(value, list):
        return [planted(item) for item in value]
    if not isinstance(value, dict):
        return value
    # Rules for binding are about tags of other resources, and the caller's own.
    inside = {key: item if key == "bind_rules" else planted(item) for key, item in value.items()}
    for key, item in inside.items():
        if key == "tags" and isinstance(item, list):
            inside[key] = [{"key": "gw-op", "value": "op", "values": ["op"]}, *item]
        if key == "description" and isinstance(item, str):
            inside[key] = "gw-op 20241c7db6e845429dc3bf4328bdc04b"
    return inside


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["rpc"])
def test_no_message_type_shows_it(example):
    binding = CATALOG[example["rpc"]]
    body = planted(example["answer"]["body"] or {})
    response = binding.response(strict_json.loads(json.dumps(body).encode()))
    unmarked.clear(response)
    assert b"gw-op" not in response.SerializeToString()


def test_what_cbr_sends_beside_the_fields_does_not_show_it_either():
    vault = {"id": "v", "new": {"tags": [{"key": "gw-op", "value": "x"}, {"key": "a"}], "tag": {"key": "gw-op"}, "text": "gw-op x"}}
    response = CATALOG["VaultService/GetVault"].response({"vault": vault})
    unmarked.clear(response)
    assert b"gw-op" not in response.SerializeToString()
    assert response.vault.extra_fields["new"]["tags"][0]["key"] == "a"


async def test_a_vault_can_be_copied_by_its_own_tags(world, payments):
    first = await made(payments, "team")
    copy = await stage.vault(payments, tags=[{"key": tag.key, "value": tag.value} for tag in first.tags])
    marked = await stage.vault(payments, tags=[{"key": "team", "value": "v"}, {"key": "gw-op", "value": "of another gateway"}])
    for vault in (copy, marked):
        assert tags_of(world, vault.id) == {"team", "gw-op"}
    assert world.emulator.state.world.vaults[marked.id].tags["gw-op"] != "of another gateway"
    await payments.ok(
        "VaultService/BatchUpdateVaultTags",
        {"vault_id": copy.id, "action": "TAG_ACTION_CREATE", "tags": [{"key": "gw-op", "value": "x"}, {"key": "b", "value": ""}]},
    )
    assert tags_of(world, copy.id) == {"team", "gw-op", "b"}


async def test_filters_find_what_they_would_without_it(payments):
    bare, team = (await made(payments)).id, (await made(payments, "team")).id
    own = [{"key": "gw-op", "values": []}]
    assert await found(payments, without_any_tag=True) == {bare}
    assert await found(payments, without_any_tag=True, tags=[{"key": "team", "values": []}]) == {bare}
    assert await found(payments, tags=own) == set()
    assert await found(payments, tags_any=own) == set()
    assert await found(payments, tags_any=[*own, {"key": "team", "values": []}]) == {team}
    assert await found(payments, not_tags=own) == {bare, team}
    assert await found(payments, not_tags_any=own) == {bare, team}


async def test_vaults_without_a_tag_come_in_pages(payments):
    bare = {(await made(payments)).id for _ in range(5)}
    for _ in range(3):
        await made(payments, "team")
    seen, token = [], ""
    while not seen or token:
        page = await payments.ok(
            "VaultService/QueryVaultsByTag",
            {"action": "TAG_QUERY_ACTION_FILTER", "without_any_tag": True, "page_size": 2, "page_token": token},
        )
        seen += [row.resource_id for row in page.resources]
        token = page.next_page_token
        assert page.total_size == 5
    assert (sorted(seen), len(seen)) == (sorted(bare), 5)


async def test_who_deletes_it_finds_none(world, payments):
    held = await made(payments, "team")
    deleting = {"vault_id": held.id, "action": "TAG_ACTION_DELETE"}
    own, team = {"key": "gw-op"}, {"key": "team"}
    assert (await payments.fails("VaultService/DeleteVaultTag", {"vault_id": held.id, "key": "gw-op"})).reason == "TAG_NOT_FOUND"
    assert (await payments.fails("VaultService/BatchUpdateVaultTags", {**deleting, "tags": [own]})).reason == "TAG_NOT_FOUND"
    await payments.ok("VaultService/BatchUpdateVaultTags", {**deleting, "tags": [own, team]})
    assert tags_of(world, held.id) == {"gw-op"}


async def test_nobody_sets_it(payments):
    held = await made(payments)
    one = await payments.fails("VaultService/CreateVaultTag", {"vault_id": held.id, "tag": {"key": "gw-op", "value": "x"}})
    many = await payments.fails(
        "VaultService/BatchUpdateVaultTags", {"vault_id": held.id, "action": "TAG_ACTION_CREATE", "tags": [{"key": "gw-op", "value": "x"}]}
    )
    assert [(failed.reason, failed.fields) for failed in (one, many)] == [("FIELD_INVALID", ["tag.key"]), ("FIELD_INVALID", ["tags[0].key"])]


async def test_all_ten_tags_are_the_callers(world, payments):
    held = await stage.vault(payments, tags=TEN)
    assert tags_of(world, held.id) == {tag["key"] for tag in TEN}
    assert len(held.tags) == 10
