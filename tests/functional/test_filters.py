"""`filter`, `order_by` and `read_mask` on lists: the rows that were asked for on pages as any
others, and what of it reaches CBR.
"""

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import pytest

from emulator.ids import seeded
from tests.functional import stage
from tests.functional.calls import arrived, caller
from tests.harness import running_gateway

VAULTS, BACKUPS = "VaultService/ListVaults", "BackupService/ListBackups"
TASKS, PROTECTABLES = "TaskService/ListTasks", "ProtectabilityService/ListProtectables"
KINDS = ("available", "error", "available")


@pytest.fixture
async def world():
    async with running_gateway() as running:
        yield running


async def listed(call, rpc, rows, token="", **request):
    """All rows over all pages, and the pages."""
    found, pages = [], 0
    while not pages or token:
        page = await call.ok(rpc, {"page_size": 4, **request, "page_token": token})
        found += getattr(page, rows)
        token, pages = page.next_page_token, pages + 1
        assert pages < 30
    return found, pages


async def with_backups(world, count=18):
    """Backups of two vaults; the objects in the emulator, newest first, as CBR lists them."""
    call, state = caller(world), world.emulator.state.world
    made = await stage.backup(call)
    pattern, other = state.backups[made.id], await stage.vault(call)
    state.backups.clear()
    for number in range(count):
        name = seeded("backup", str(number))
        state.backups[name] = replace(
            pattern,
            id=name,
            name=f"b{number % 7}-{number}",
            vault_id=other.id if number % 3 else made.vault_id,
            status=KINDS[number % len(KINDS)],
            created_at=pattern.created_at + number,
        )
    return call, list(reversed(state.backups.values())), made.vault_id


async def test_rows_are_those_that_the_filter_names_in_the_order_asked_for(world):
    call, backups, vault_id = await with_backups(world)
    wanted = sorted(
        (b for b in backups if b.vault_id == vault_id and not b.name.startswith("b1")),
        key=lambda b: b.name,
    )
    text = f'vault_id = "{vault_id}" AND NOT (name >= b1 AND name < b2)'
    found, pages = await listed(call, BACKUPS, "backups", filter=text, order_by="name")
    assert [b.id for b in found] == [b.id for b in wanted]
    assert pages == -(-len(wanted) // 4)
    assert {asked.get("vault_id") for asked in queries(world)[-pages:]} == {vault_id}


def queries(world, rpc=BACKUPS):
    """What arrived of one list, as the names and values of its queries."""
    return [dict(parse_qsl(urlsplit(entry.target).query)) for entry in arrived(world, rpc)]


async def test_what_cbr_does_exactly_is_left_to_it(world):
    call, backups, vault_id = await with_backups(world)
    before = len(queries(world))
    page = await call.ok(
        BACKUPS,
        {
            "filter": f"vault_id = {vault_id} AND status = available",
            "order_by": "create_time",
            "page_size": 2,
        },
    )
    (asked,) = queries(world)[before:]
    assert asked["vault_id"] == vault_id
    assert asked["status"] == "available"
    assert asked["sort"] == "created_at:asc"
    assert int(asked["limit"]) < 10
    wanted = [b.id for b in backups if b.vault_id == vault_id and b.status == "available"]
    assert [b.id for b in page.backups] == wanted[::-1][:2]


async def test_what_cbr_does_only_roughly_is_done_here_as_well(world):
    call, backups, _ = await with_backups(world)
    exact = backups[3].name[:2]
    found, _ = await listed(call, BACKUPS, "backups", filter=f"name = {exact}")
    assert found == []
    assert queries(world)[-1]["name"] == exact
    moment = "2026-01-31T12:00:00.5Z"
    await listed(call, BACKUPS, "backups", filter=f"create_time > {moment} AND name : b")
    assert queries(world)[-1]["start_time"] == "2026-01-31T12:00:00Z"
    await listed(call, BACKUPS, "backups", filter=f"create_time < {moment}")
    assert queries(world)[-1]["end_time"] == "2026-01-31T12:00:01Z"


@pytest.mark.parametrize(
    "text", ["vault_id = 'a,b' OR status = ERROR", "status = OTHER", 'vault_id = ""']
)
async def test_what_cbr_has_no_word_for_is_not_sent(world, text):
    call, backups, _ = await with_backups(world, 6)
    found, _ = await listed(call, BACKUPS, "backups", filter=text)
    asked = queries(world)[-1]
    assert "vault_id" not in asked
    assert "status" not in asked
    assert len(found) == (sum(b.status == "error" for b in backups) if "ERROR" in text else 0)


async def test_pages_of_a_filtered_list_hide_no_row_when_others_go(world):
    call, backups, _ = await with_backups(world)
    request = {"filter": "name : b", "order_by": "name desc", "page_size": 5}
    first = await call.ok(BACKUPS, request)
    del world.emulator.state.world.backups[first.backups[-1].id]
    rest, _ = await listed(call, BACKUPS, "backups", token=first.next_page_token, **request)
    order = sorted((b.name for b in backups), reverse=True)
    assert [b.name for b in [*first.backups, *rest]] == order
    other = await call.fails(
        BACKUPS, {**request, "filter": "name : c", "page_token": first.next_page_token}
    )
    assert other.reason == "PAGE_TOKEN_MISMATCH"


async def test_a_mask_leaves_fields_out_on_every_list(world):
    call, _, _ = await with_backups(world, 3)
    for rpc, rows, more in (
        (BACKUPS, "backups", {}),
        (VAULTS, "vaults", {}),
        (TASKS, "tasks", {}),
        (PROTECTABLES, "instances", {"protectable_type": "PROTECTABLE_TYPE_SERVER"}),
    ):
        whole = getattr(await call.ok(rpc, more), rows)
        bare = getattr(await call.ok(rpc, {**more, "read_mask": "id"}), rows)
        assert [[fd.name for fd, _ in row.ListFields()] for row in bare] == [["id"]] * len(whole)
        assert [row.id for row in bare] == [row.id for row in whole]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"filter": "status = AVAILABLE OR status = ERROR", "order_by": "name desc"},
        {"filter": "status = AVAILABLE"},
        {"order_by": "create_time"},
    ],
)
async def test_a_mask_may_change_between_pages(world, request_):
    """Also to one without the fields that the rows are chosen and put in order by."""
    call, _, _ = await with_backups(world)
    whole = await call.ok(BACKUPS, {**request_, "page_size": 50})
    token, found, masks = "", [], [None, "id", "id,name", "id", None]
    while not found or token:
        mask = masks.pop(0) if masks else "id"
        request = {**request_, "page_size": 4, "page_token": token}
        page = await call.ok(BACKUPS, request | ({"read_mask": mask} if mask else {}))
        found, token = [*found, *page.backups], page.next_page_token
    assert [row.id for row in found] == [row.id for row in whole.backups]


async def test_every_list_takes_them_and_tells_the_position_of_a_mistake(world):
    call = caller(world)
    for rpc, more in (
        (BACKUPS, {}),
        (VAULTS, {}),
        (TASKS, {}),
        (PROTECTABLES, {"protectable_type": "PROTECTABLE_TYPE_SERVER"}),
    ):
        before = len(world.emulator.state.truth.entries())
        failed = await call.fails(rpc, {**more, "filter": "id = x AND colour = red"})
        assert (failed.reason, failed.fields) == ("FIELD_INVALID", ["filter"])
        assert "position 12: there is no field `colour`" in failed.message
        assert len(world.emulator.state.truth.entries()) == before


async def test_protectables_and_tasks_by_what_only_their_rows_tell(world):
    call = caller(world)
    await stage.backup(call)
    request = {"protectable_type": "PROTECTABLE_TYPE_SERVER"}
    found, _ = await listed(
        call,
        PROTECTABLES,
        "instances",
        **request,
        filter="protectable.result = false",
        order_by="name",
    )
    everything, _ = await listed(call, PROTECTABLES, "instances", **request)
    refused = sorted(row.name for row in everything if not row.protectable.result)
    assert [row.name for row in found] == refused
    assert refused
    tasks, _ = await listed(call, TASKS, "tasks", filter="type = BACKUP AND policy_id = ''")
    assert len(tasks) == 1
    none, _ = await listed(call, TASKS, "tasks", filter="policy_id : *")
    assert none == []
    both = await call.fails(BACKUPS, {"order_by": "name", "sort": "name:asc"})
    assert both.fields == ["order_by"]
