"""Lists through the gateway: every row once, whatever the page size, also when the list changes
between two pages.
"""

import time
from dataclasses import dataclass, replace

import pytest

from emulator.ids import seeded
from emulator.paging import Paging
from gateway.upstream import paging
from gateway.upstream.rows import row_id
from tests.fakes import SteppedClock
from tests.functional import stage
from tests.functional.calls import BINDINGS, arrived, caller, forget

ROWS = 23


@dataclass
class Shelf:
    """The rows of one list inside the emulator, in a dict whose order is that of the list, or its
    reverse.
    """

    rpc: str
    filter: dict[str, object]
    rows: dict
    pattern: object
    newest_first: bool = False

    def make(self, number, *, front=False):
        name = seeded(self.rpc, str(number))
        row = replace(self.pattern, id=name)
        if front is self.newest_first:
            self.rows[name] = row
        else:
            rest = dict(self.rows)
            self.rows.clear()
            self.rows.update({name: row} | rest)
        return name

    def fill(self, count):
        """Clears the list and adds `count` rows; their ids in the order of the list."""
        self.rows.clear()
        return [self.make(number) for number in range(count)]


async def vaults(call, world, rpc="VaultService/ListVaults", wish=None):
    made = await stage.vault(call)
    rows = world.emulator.state.world.vaults
    return Shelf(rpc, wish or {}, rows, rows[made.id], newest_first=True)


async def by_tag(call, world):
    return await vaults(
        call, world, "VaultService/QueryVaultsByTag", {"action": "TAG_QUERY_ACTION_FILTER"}
    )


async def policies(call, world):
    made = await stage.policy(call)
    rows = world.emulator.state.world.policies
    return Shelf("PolicyService/ListPolicies", {}, rows, rows[made.id])


async def tasks(call, world):
    await stage.backup(call)
    rows = world.emulator.state.world.tasks.log
    return Shelf("TaskService/ListTasks", {}, rows, next(iter(rows.values())), newest_first=True)


async def backups(call, world):
    made = await stage.backup(call)
    rows = world.emulator.state.world.backups
    return Shelf("BackupService/ListBackups", {}, rows, rows[made.id], newest_first=True)


async def members(call, world):
    backup_id = await stage.shared_backup(call)
    rows = world.emulator.state.world.members[backup_id]
    return Shelf(
        "BackupShareService/ListBackupMembers",
        {"backup_id": backup_id},
        rows,
        next(iter(rows.values())),
    )


async def protectables(call, world):
    rows = world.emulator.state.world.protectables
    pattern = next(
        row
        for row in rows.values()
        if row.kind == "server" and row.project_id == stage.MEMBER["payments"]
    )
    return Shelf(
        "ProtectabilityService/ListProtectables",
        {"protectable_type": "PROTECTABLE_TYPE_SERVER"},
        rows,
        pattern,
    )


SHELVES = [vaults, by_tag, policies, tasks, backups, members, protectables]
MARKER = {backups, members, protectables}
every_list = pytest.mark.parametrize("shelf_of", SHELVES, ids=lambda shelf: shelf.__name__)


def ids_of(response):
    field = next(
        field for field in response.DESCRIPTOR.fields if field.is_repeated and field.message_type
    )
    return [row_id(row) for row in getattr(response, field.name)]


async def walk(call, shelf, size, between=lambda _page: None):
    """All pages of a list; `between` is called after each."""
    token, pages = "", []
    while not pages or token:
        response = await call.ok(
            shelf.rpc, {**shelf.filter, "page_size": size, "page_token": token}
        )
        pages.append(ids_of(response))
        token = response.next_page_token
        assert len(pages) <= 60, "the list never ends"
        between(len(pages))
    return pages


def joined(pages):
    return [row for page in pages for row in page]


@every_list
@pytest.mark.parametrize(
    ("size", "count"), [(1, ROWS), (7, ROWS), (7, 21), (50, ROWS), (0, 60), (500, 230)]
)
async def test_every_row_comes_once(world, payments, shelf_of, size, count):
    shelf = await shelf_of(payments, world)
    expected = shelf.fill(count)
    pages = await walk(payments, shelf, size)
    assert joined(pages) == expected
    assert max(map(len, pages)) == min(size or 50, paging.max_size(BINDINGS[shelf.rpc]), count)


@every_list
@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("inserted", [1, 7])
async def test_rows_inserted_in_front_hide_none(world, payments, shelf_of, size, inserted):
    shelf = await shelf_of(payments, world)
    expected = set(shelf.fill(ROWS))

    def insert(page):
        if page == 2:
            for number in range(inserted):
                shelf.make(1000 + number, front=True)

    seen = joined(await walk(payments, shelf, size, insert))
    assert expected <= set(seen)
    if inserted <= size:
        assert len(seen) == len(set(seen)), "no row twice"


@every_list
@pytest.mark.parametrize("size", [1, 7])
async def test_a_deleted_row_takes_no_other_with_it(world, payments, shelf_of, size):
    shelf = await shelf_of(payments, world)
    order = shelf.fill(ROWS)

    def delete(page):
        if page == 1:
            del shelf.rows[order[size - 1]]

    seen = joined(await walk(payments, shelf, size, delete))
    assert seen == order


@every_list
async def test_rows_that_are_deleted_once_seen_do_not_end_the_list(world, payments, shelf_of):
    """Whoever clears up page by page makes the total shrink."""
    shelf = await shelf_of(payments, world)
    order = shelf.fill(28)

    def clear(page):
        for row in order[(page - 1) * 7 : page * 7]:
            shelf.rows.pop(row, None)

    assert joined(await walk(payments, shelf, 7, clear)) == order


async def test_who_deletes_each_page_through_the_gateway_sees_every_vault(world, payments):
    shelf = await vaults(payments, world)
    order = shelf.fill(12)
    found, token = [], ""
    while not found or token:
        page = await payments.ok(shelf.rpc, {"page_size": 4, "page_token": token})
        token = page.next_page_token
        for vault in page.vaults:
            found.append(vault.id)
            await payments.ok("VaultService/DeleteVault", {"vault_id": vault.id})
    assert found == order


@pytest.mark.parametrize("shelf_of", [vaults, policies, backups], ids=lambda shelf: shelf.__name__)
async def test_pages_are_as_large_as_any_client_takes(world, payments, shelf_of):
    """4 MiB, unless a client is told otherwise."""
    shelf = await shelf_of(payments, world)
    shelf.pattern = replace(shelf.pattern, name="x" * 200 * 1024)
    expected = shelf.fill(25)
    pages = await walk(payments, shelf, 25)
    assert joined(pages) == expected
    assert len(pages) == 2, "of 15 and 10 rows"


@pytest.mark.parametrize("missing", ["empty", "bad_request", "not_found", "start"])
@pytest.mark.parametrize("offset", ["rows", "pages", "ignored"])
@pytest.mark.parametrize(
    "shelf_of", sorted(MARKER, key=lambda shelf: shelf.__name__), ids=lambda shelf: shelf.__name__
)
async def test_the_row_that_a_marker_would_name_may_be_deleted(
    world, payments, shelf_of, offset, missing
):
    shelf = await shelf_of(payments, world)
    order = shelf.fill(ROWS)
    world.emulator.state.world.paging = Paging(offset=offset, missing_marker=missing)

    def delete(page):
        if page <= 2:
            for row in order[page * 7 - 2 : page * 7]:
                del shelf.rows[row]

    assert joined(await walk(payments, shelf, 7, delete)) == order


MODES = {
    "as the manual says": Paging(),
    "a marker that is ignored": Paging(marker="ignored"),
    "an offset that counts pages": Paging(offset="pages", marker="ignored"),
    "an offset that counts pages from 0": Paging(offset="pages_from_0", marker="ignored"),
    "a marker alone": Paging(offset="ignored"),
    "few rows at once": Paging(cap=10, marker="ignored"),
    "short pages": Paging(short=True, marker="ignored", count="none"),
    "few rows at once, which are counted": Paging(cap=10, marker="ignored", count="page"),
    "a count of the page": Paging(count="page", marker="ignored"),
    "no count, and an offset that counts pages": Paging(
        count="none", offset="pages", marker="ignored"
    ),
}


@pytest.mark.parametrize("mode", MODES)
async def test_120_of_120_servers_are_listed(world, payments, mode):
    shelf = await protectables(payments, world)
    order = shelf.fill(120)
    world.emulator.state.world.paging = MODES[mode]
    forget(world.app)
    for size in (50, 7):
        assert joined(await walk(payments, shelf, size)) == order


async def test_a_list_in_which_nothing_leads_on_ends_and_says_so(world, payments):
    shelf = await vaults(payments, world)
    shelf.fill(ROWS)
    world.emulator.state.world.paging = Paging(offset="ignored", count="none", cap=7)
    first = await payments.ok(shelf.rpc, {"page_size": 7})
    failed = await payments.fails(shelf.rpc, {"page_size": 7, "page_token": first.next_page_token})
    assert failed.reason == "UPSTREAM_PROTOCOL"


async def test_a_total_that_cbr_does_not_tell_is_unset(world, payments):
    shelf = await protectables(payments, world)
    shelf.fill(3)
    ask = {**shelf.filter, "page_size": 2}
    assert (await payments.ok(shelf.rpc, ask)).total_size == 3
    world.emulator.state.world.paging = Paging(count="none")
    assert not (await payments.ok(shelf.rpc, ask)).HasField("total_size")
    below = {
        "kind": "raw",
        "body": '{"vaults": [], "count": -1}',
        "match": {"operation": "ListVault"},
    }
    world.emulator.state.faults.add(below)
    assert not (await payments.ok("VaultService/ListVaults", {})).HasField("total_size")
    shelf.fill(0)
    world.emulator.state.world.paging = Paging()
    empty = await payments.ok(shelf.rpc, ask)
    assert empty.HasField("total_size")
    assert empty.total_size == 0


async def test_a_list_that_is_cut_by_the_gateway_has_tokens_too(world, payments):
    made = await stage.vault(payments)
    tags = [{"key": f"key-{number}", "value": ""} for number in range(7)]
    await payments.ok(
        "VaultService/BatchUpdateVaultTags",
        {"vault_id": made.id, "action": "TAG_ACTION_CREATE", "tags": tags},
    )
    shelf = Shelf("VaultService/ListVaultTags", {"vault_id": made.id}, {}, None)
    assert joined(await walk(payments, shelf, 3)) == [tag["key"] for tag in tags]


# Tokens that are not the caller's own
# -----------------------------------------------------------------------------------------------


@pytest.fixture
async def token(world, payments):
    for _ in range(3):
        await stage.vault(payments)
    return (await payments.ok("VaultService/ListVaults", {"page_size": 1})).next_page_token


async def refused(world, call, rpc, fields):
    since = len(arrived(world))
    failed = await call.fails(rpc, fields)
    assert len(arrived(world)) == since, "nothing is sent"
    assert failed.code == "INVALID_ARGUMENT"
    return failed.reason, failed.fields


MISMATCH = ("PAGE_TOKEN_MISMATCH", ["page_token"])


async def test_the_token_is_good(world, payments, token):
    assert (
        len(
            (
                await payments.ok("VaultService/ListVaults", {"page_size": 2, "page_token": token})
            ).vaults
        )
        == 2
    )


@pytest.mark.parametrize(
    ("rpc", "fields"),
    [
        ("VaultService/ListVaults", {"name": "other"}),
        ("TaskService/ListTasks", {}),
        ("PolicyService/ListPolicies", {}),
    ],
)
async def test_a_token_of_another_list_or_filter_is_refused(world, payments, token, rpc, fields):
    assert await refused(world, payments, rpc, {**fields, "page_token": token}) == MISMATCH


async def test_a_token_of_another_tenant_is_refused(world, token):
    assert (
        await refused(
            world,
            caller(world, "databases"),
            "VaultService/ListVaults",
            {"page_size": 1, "page_token": token},
        )
        == MISMATCH
    )


async def test_no_edited_token_is_accepted(world, payments, token):
    wrong = [token[:-4], token + "AAAA", "x", "%%%", "ü", token[::-1], "A" * 5000, " " + token]
    wrong += [
        token[:place] + ("B" if token[place] == "A" else "A") + token[place + 1 :]
        for place in range(0, len(token), 3)
    ]
    for edited in wrong:
        assert (
            await refused(
                world, payments, "VaultService/ListVaults", {"page_size": 1, "page_token": edited}
            )
            == MISMATCH
        ), edited


async def test_an_old_token_is_refused(world, payments, token, monkeypatch):
    clock = SteppedClock(time.time())
    monkeypatch.setattr(world.app.client._reads._tokens, "_clock", clock)
    clock.advance(72 * 3600 - 60)
    await payments.ok("VaultService/ListVaults", {"page_size": 1, "page_token": token})
    clock.advance(120)
    assert (
        await refused(
            world, payments, "VaultService/ListVaults", {"page_size": 1, "page_token": token}
        )
        == MISMATCH
    )


@every_list
async def test_a_negative_page_size_is_refused(world, payments, shelf_of):
    shelf = await shelf_of(payments, world)
    assert await refused(world, payments, shelf.rpc, {**shelf.filter, "page_size": -1}) == (
        "FIELD_INVALID",
        ["page_size"],
    )
