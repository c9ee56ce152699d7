"""The gateway's own mark on what it creates is in nobody's way: callers neither see it nor meet
it.
"""

import json
from pathlib import Path

import grpc
import pytest
from cbrgateway.v1 import options_pb2
from google.protobuf import json_format

from emulator.routes import tags as emulated_tags
from emulator.transitions import Mode, Pace
from gateway.changes import unmarked
from gateway.operations import load_catalog
from gateway.upstream import marker, strict_json
from tests.functional import stage
from tests.functional.calls import caller, failure_of
from tests.harness import running_gateway

EXAMPLES = [
    json.loads(file.read_text(encoding="utf-8"))
    for file in sorted((Path(__file__).parents[1] / "examples").glob("*.json"))
]
CATALOG = load_catalog()
TEN = [{"key": f"key-{number}", "value": "v"} for number in range(10)]


@pytest.fixture(scope="module")
async def marking_world():
    async with running_gateway(
        sections={"quota": {"markers": True, "recovery": False}}, pace=Pace(Mode.IMMEDIATE)
    ) as world:
        yield world


@pytest.fixture
def world(marking_world):
    marking_world.emulator.state.reset()
    return marking_world


@pytest.fixture
def payments(world):
    return caller(world)


@pytest.mark.parametrize(
    ("body", "absent"),
    [
        (b"", False),
        (b'{"tags": [{"key": "gw-op"}]}', False),
        (b'{"tags": [{"key": "gw\\u002dop"}]}', False),
        (b'{"tags": [{"key": "team"}]}', True),
    ],
)
def test_answers_are_looked_through_unless_they_surely_hold_no_mark(body, absent):
    assert marker.surely_absent(body) is absent


def tags_of(world, vault_id):
    """As CBR has them."""
    return set(world.emulator.state.world.vaults[vault_id].tags)


async def made(payments, *keys):
    return await stage.vault(payments, tags=[{"key": key, "value": "v"} for key in keys])


async def found(payments, **filters):
    """The names that a query finds; counting must tell the same."""
    page = await payments.ok(
        "VaultService/QueryVaultsByTag", {"action": "TAG_QUERY_ACTION_FILTER", **filters}
    )
    counted = await payments.ok(
        "VaultService/QueryVaultsByTag", {"action": "TAG_QUERY_ACTION_COUNT", **filters}
    )
    assert counted.total_size == page.total_size == len(page.resources)
    assert not counted.resources
    assert "gw-op" not in str(page)
    return {row.resource_id for row in page.resources}


async def test_no_answer_shows_it(world, payments):
    held = await made(payments, "team")
    assert tags_of(world, held.id) == {"team", "gw-op"}
    await payments.ok(
        "CheckpointService/CreateCheckpoint",
        {"checkpoint": {"vault_id": (await stage.vault(payments, 1)).id}},
    )
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
        await payments.ok(
            "VaultService/UpdateVault", {"vault_id": held.id, "vault": {"name": "other"}}
        ),
        await payments.ok("BackupService/ListBackups"),
        await payments.ok("BackupService/GetBackup", {"backup_id": backup.id}),
        await payments.ok(
            "CheckpointService/GetCheckpoint", {"checkpoint_id": backup.checkpoint_id}
        ),
        await payments.ok(
            "ProtectabilityService/ListProtectables",
            {"protectable_type": "PROTECTABLE_TYPE_SERVER"},
        ),
    ]
    assert [answer for answer in answers if "gw-op" in str(answer)] == []


def planted(value):
    """A JSON answer with the mark wherever it could be: among tags, as a description, and in
    members without a field.
    """
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
    vault = {
        "id": "v",
        "new": {
            "tags": [{"key": "gw-op", "value": "x"}, {"key": "a"}],
            "tag": {"key": "gw-op"},
            "by_key": {"gw-op": "x", "team": "y"},
            "text": "gw-op x",
        },
    }
    response = CATALOG["VaultService/GetVault"].response({"vault": vault})
    unmarked.clear(response)
    assert b"gw-op" not in response.SerializeToString()
    assert response.vault.extra_fields["new"]["tags"][0]["key"] == "a"


async def test_a_vault_can_be_copied_by_its_own_tags(world, payments):
    first = await made(payments, "team")
    copy = await stage.vault(
        payments, tags=[{"key": tag.key, "value": tag.value} for tag in first.tags]
    )
    marked = await stage.vault(
        payments,
        tags=[{"key": "team", "value": "v"}, {"key": "gw-op", "value": "of another gateway"}],
    )
    for vault in (copy, marked):
        assert tags_of(world, vault.id) == {"team", "gw-op"}
    assert world.emulator.state.world.vaults[marked.id].tags["gw-op"] != "of another gateway"
    await payments.ok(
        "VaultService/BatchUpdateVaultTags",
        {
            "vault_id": copy.id,
            "action": "TAG_ACTION_CREATE",
            "tags": [{"key": "gw-op", "value": "x"}, {"key": "b", "value": ""}],
        },
    )
    assert tags_of(world, copy.id) == {"team", "gw-op", "b"}


async def test_filters_find_what_they_would_without_it(payments):
    bare, team = (await made(payments)).id, (await made(payments, "team")).id
    own = [{"key": "gw-op", "values": []}]
    assert await found(payments, without_any_tag=True) == {bare}
    assert await found(payments, without_any_tag=True, tags=[{"key": "team", "values": []}]) == {
        bare
    }
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
            {
                "action": "TAG_QUERY_ACTION_FILTER",
                "without_any_tag": True,
                "page_size": 2,
                "page_token": token,
            },
        )
        seen += [row.resource_id for row in page.resources]
        token = page.next_page_token
        assert page.total_size == 5
    assert (sorted(seen), len(seen)) == (sorted(bare), 5)


# One rule for each request that names the key: set, it has no effect; to everything else no vault
# has it ------------------------------------

OWN = {"key": "gw-op", "value": "mine"}
TEAM = {"key": "team", "value": "v"}


def places(descriptor, above=()):
    """Paths of a request to tags and filters for tags of vaults; of a string alone if it is a tag's
    key.
    """
    for fd in descriptor.fields:
        if fd.message_type is not None and fd.message_type.full_name in {
            "cbrgateway.v1.Tag",
            "cbrgateway.v1.TagFilter",
        }:
            yield ".".join((*above, fd.name))
        elif (
            fd.message_type is not None
            and fd.message_type.file.package == descriptor.file.package
            and fd.message_type.name not in above
        ):
            yield from places(fd.message_type, (*above, fd.name))
        elif (
            fd.name == "key"
            and "the key of a tag of the vault" in fd.GetOptions().Extensions[options_pb2.no_object]
        ):
            yield ".".join((*above, fd.name))


FILTERS = {
    name: [{"key": "gw-op", "values": ["mine"]}]
    for name in ("tags", "tags_any", "not_tags", "not_tags_any")
}
ON = {"vault_id": "held"}
MATRIX = {
    ("VaultService/CreateVault", "vault.tags"): [
        {"vault": {"tags": [OWN]}},
        {"vault": {"tags": [TEAM, OWN]}},
        {"vault": {"tags": [*TEN, OWN]}},
    ],
    ("VaultService/OrderVault", "vault.tags"): [
        {"vault": {"tags": [OWN]}},
        {"vault": {"tags": [TEAM, OWN]}},
        {"vault": {"tags": [*TEN, OWN]}},
    ],
    ("VaultService/CreateVaultTag", "tag"): [ON | {"tag": OWN}],
    ("VaultService/DeleteVaultTag", "key"): [ON | {"key": "gw-op"}],
    ("VaultService/BatchUpdateVaultTags", "tags"): [
        ON | {"action": f"TAG_ACTION_{action}", "tags": tags}
        for action in ("CREATE", "DELETE")
        for tags in ([OWN], [OWN, TEAM], [TEAM, OWN])
    ],
    **{
        ("VaultService/QueryVaultsByTag", name): [
            {"action": f"TAG_QUERY_ACTION_{action}", name: rows}
            for rows in (own, [*own, {"key": "team", "values": []}])
            for action in ("FILTER", "COUNT")
        ]
        for name, own in FILTERS.items()
    },
    ("QuotaService/CheckQuota", "create_vault.vault.tags"): [
        {"create_vault": {"vault": {"tags": [*TEN, OWN]}}}
    ],
    ("QuotaService/CheckQuota", "order_vault.vault.tags"): [
        {"order_vault": {"vault": {"tags": [*TEN, OWN]}}}
    ],
}
"""RPC and path -> requests that name the key there."""


def test_the_matrix_has_every_place():
    found = {
        (binding.rpc, path) for binding in CATALOG for path in places(binding.descriptor.input_type)
    }
    assert found == set(MATRIX)


def other_key(value):
    """The same request with a key of the caller's own that no vault has, in the place of the
    gateway's.
    """
    if isinstance(value, list):
        return [other_key(item) for item in value]
    if not isinstance(value, dict):
        return "nobodys" if value == "gw-op" else value
    return {key: other_key(item) for key, item in value.items()}


def without(value):
    """The same request without the tags with the gateway's key."""
    if isinstance(value, list):
        return [
            without(item)
            for item in value
            if not (isinstance(item, dict) and item.get("key") == "gw-op")
        ]
    return {key: without(item) for key, item in value.items()} if isinstance(value, dict) else value


def spec_for(rpc, request):
    """The request with what it needs beside tags."""
    field = next((name for name in request if name.endswith("_vault")), "")
    if field:
        return {
            field: spec_for("OrderVault" if "order" in field else "CreateVault", request[field])
        }
    if "vault" not in request:
        return request
    example = next(
        each["request"] for each in EXAMPLES if each["rpc"].endswith(rpc.rpartition("/")[2])
    )
    bare = {key: value for key, value in example["vault"].items() if key in {"billing", "name"}}
    return {"vault": {**bare, **request["vault"]}}


async def ended(payments, rpc, request, held):
    """How a call ended, what it answered but for ids and times, and the tags of the vault after
    it.
    """
    binding = CATALOG[rpc]
    request = spec_for(rpc, request | ({"vault_id": held} if "vault_id" in request else {}))
    method = payments.channel.unary_unary(
        f"/cbrgateway.v1.{rpc}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=binding.response_type.FromString,
    )
    try:
        answer = await method(
            json_format.ParseDict(request, binding.request_type()),
            metadata=payments.metadata,
            timeout=20,
        )
    except grpc.aio.AioRpcError as error:
        return failure_of(error).reason, None
    rows = sorted(row.resource_id for row in getattr(answer, "resources", ()))
    shown = [tag.key for tag in answer.vault.tags] if rpc.endswith("/CreateVault") else rows
    return "OK", (shown, [warning.rule for warning in getattr(answer, "warnings", ())])


@pytest.mark.parametrize(
    ("rpc", "request_"), [(rpc, each) for (rpc, _), requests in MATRIX.items() for each in requests]
)
async def test_the_key_in_a_request_has_no_effect(world, payments, rpc, request_):
    async def played(request):
        world.emulator.state.reset()
        held = (await made(payments, "team")).id
        found = await ended(payments, rpc, request, held)
        return found, tags_of(world, held)

    told, tags = await played(request_)
    looks = rpc.endswith(("/QueryVaultsByTag", "/DeleteVaultTag"))
    wanted, same = (
        (("OK", ([], [])), {"team", "gw-op"})
        if "tag" in request_
        else await played(other_key(request_) if looks else without(request_))
    )
    assert "gw-op" in tags
    assert (told, tags) == (wanted, same)
    # As for any tag that the vault does not have.
    assert told[0] == ("TAG_NOT_FOUND" if rpc == "VaultService/DeleteVaultTag" else "OK")


SPACED = {
    rpc: [each for each in requests if OWN in each.get("tags", [each.get("tag")])]
    for (rpc, path), requests in MATRIX.items()
    if path in {"tag", "tags"}
}


@pytest.mark.parametrize("key", [" gw-op", "gw-op ", "\u00a0gw-op\u3000"])
@pytest.mark.parametrize(
    ("rpc", "request_"),
    [(rpc, each) for rpc, requests in SPACED.items() for each in requests],
)
async def test_the_key_with_spaces_at_its_ends_has_no_effect_either(
    world, payments, rpc, request_, key
):
    """To CBR it is the key without them."""
    held = await made(payments, "team")
    mark = world.emulator.state.world.vaults[held.id].tags["gw-op"]
    text = json.dumps(request_).replace('"gw-op"', json.dumps(key))
    await ended(payments, rpc, json.loads(text), held.id)
    assert world.emulator.state.world.vaults[held.id].tags["gw-op"] == mark


@pytest.mark.parametrize(
    "rpc",
    [
        "VaultService/CreateVaultTag",
        "VaultService/DeleteVaultTag",
        "VaultService/BatchUpdateVaultTags",
    ],
)
async def test_the_key_on_a_vault_that_is_not_there(payments, rpc):
    request, *_ = next(requests for (name, _), requests in MATRIX.items() if name == rpc)
    assert (
        await payments.fails(rpc, request | {"vault_id": "6f1f086f-69fb-472a-8443-7cc8eb3a29ee"})
    ).reason == "VAULT_NOT_FOUND"


REPEATED = {
    "VaultService/CreateVaultTag": ({"tag": OWN}, {"tag": TEAM}),
    "VaultService/BatchUpdateVaultTags": (
        {"action": "TAG_ACTION_DELETE", "tags": [OWN]},
        {"action": "TAG_ACTION_DELETE", "tags": [TEAM]},
    ),
}


@pytest.mark.parametrize("rpc", REPEATED)
async def test_a_change_of_the_key_alone_is_recorded_under_its_request_id(world, payments, rpc):
    held = await made(payments, "team")
    first, other = (ON | {"vault_id": held.id, "request_id": "r"} | each for each in REPEATED[rpc])
    for replayed in (None, "true"):
        call = payments.start(rpc, first)
        await call
        assert dict(await call.trailing_metadata()).get("replayed") == replayed
    assert (await payments.fails(rpc, other)).reason == "IDEMPOTENCY_MISMATCH"
    assert tags_of(world, held.id) == {"team", "gw-op"}


async def test_a_deletion_of_the_key_that_is_refused_leaves_its_request_id_free(world, payments):
    held = await made(payments, "team")
    asked = {"vault_id": held.id, "request_id": "r"}
    for _ in range(2):
        refused = await payments.fails("VaultService/DeleteVaultTag", asked | {"key": "gw-op"})
        assert refused.reason == "TAG_NOT_FOUND"
    await payments.ok("VaultService/DeleteVaultTag", asked | {"key": "team"})
    assert tags_of(world, held.id) == {"gw-op"}


# Room
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def room_for_ten(monkeypatch):
    """A CBR that lets a vault have ten tags, as some sources say."""
    monkeypatch.setattr(emulated_tags, "MAX_TAGS", 10)


@pytest.mark.parametrize("many", [False, True])
async def test_the_tenth_tag_is_the_callers_too(world, payments, room_for_ten, many):
    held = await stage.vault(payments, tags=TEN[:9])
    assert "gw-op" in tags_of(world, held.id)
    if many:
        await payments.ok(
            "VaultService/BatchUpdateVaultTags",
            ON | {"vault_id": held.id, "action": "TAG_ACTION_CREATE", "tags": TEN},
        )
    else:
        await payments.ok("VaultService/CreateVaultTag", {"vault_id": held.id, "tag": TEN[9]})
    assert tags_of(world, held.id) == {tag["key"] for tag in TEN}
    one_more = {"vault_id": held.id, "tag": {"key": "one-more", "value": ""}}
    assert (
        await payments.fails("VaultService/CreateVaultTag", one_more)
    ).reason == "UPSTREAM_LIMIT"


async def test_the_tag_stays_where_there_is_room_for_it(world, payments, room_for_ten):
    held = await stage.vault(payments, tags=TEN[:8])
    await payments.ok("VaultService/CreateVaultTag", {"vault_id": held.id, "tag": TEN[8]})
    await payments.ok(
        "VaultService/CreateVaultTag", {"vault_id": held.id, "tag": TEN[0] | {"value": "other"}}
    )
    assert "gw-op" in tags_of(world, held.id)


async def test_the_tag_stays_where_its_create_may_not_be_settled(world, payments, room_for_ten):
    """One of which the store knows nothing can be another gateway's."""
    held = await stage.vault(payments, tags=TEN[:9])
    world.emulator.state.world.vaults[held.id].tags["gw-op"] = "another-gateways"
    adding = {"vault_id": held.id, "tag": TEN[9]}
    assert (await payments.fails("VaultService/CreateVaultTag", adding)).reason == "UPSTREAM_LIMIT"
    world.emulator.state.world.vaults[held.id].created_at -= 25 * 3600
    await payments.ok("VaultService/CreateVaultTag", adding)
    assert tags_of(world, held.id) == {tag["key"] for tag in TEN}


async def test_all_ten_tags_are_the_callers(world, payments):
    held = await stage.vault(payments, tags=TEN)
    assert tags_of(world, held.id) == {tag["key"] for tag in TEN}
    assert len(held.tags) == 10
