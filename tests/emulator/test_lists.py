"""Pages, markers, filters and order of lists."""

import pytest

from tests.emulator.conftest import Caller


async def test_pages_cover_the_list_once_and_count_counts_all(payments: Caller):
    made = [(await payments.vault(servers=0, name=f"v-{number}"))["id"] for number in range(5)]
    seen = []
    for offset in (0, 2, 4):
        page = await payments.ok("GET", f"/vaults?limit=2&offset={offset}")
        assert (page["count"], page["limit"], page["offset"]) == (5, 2, offset)
        seen += [each["id"] for each in page["vaults"]]
    assert seen == made[::-1]


async def test_defaults_are_echoed(payments: Caller):
    assert await payments.ok("GET", "/vaults") == {
        "vaults": [],
        "count": 0,
        "limit": 1000,
        "offset": 0,
    }


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/vaults?limit=0", "limit"),
        ("/vaults?limit=1001", "limit"),
        ("/vaults?offset=-1", "offset"),
        ("/vaults?limit=ten", "limit"),
        ("/vaults?protect_type=magic", "protect_type"),
        ("/backups?sort=size", "sort"),
        ("/backups?start_time=yesterday", "start_time"),
        ("/operation-logs?status=done", "status"),
        ("/organization-policies", "operation_type"),
        ("/vaults/external?region_id=cn-east-3", "external_project_id"),
    ],
)
async def test_a_bad_query_is_refused_by_name(payments: Caller, path: str, name: str):
    status, refusal = await payments("GET", path)
    assert (status, refusal["error_code"]) == (400, "BackupService.9900")
    assert name in refusal["error_msg"]


async def test_backups_come_newest_first_and_continue_after_a_marker(payments: Caller):
    vault = await payments.vault()
    made = [(await payments.backup(vault["id"], name=f"b-{number}"))["id"] for number in range(4)]
    newest_first = [each["id"] for each in (await payments.ok("GET", "/backups"))["backups"]]
    assert newest_first == made[::-1]
    rest = await payments.ok("GET", f"/backups?limit=2&marker={newest_first[1]}")
    assert [each["id"] for each in rest["backups"]] == newest_first[2:]
    by_name = await payments.ok("GET", "/backups?sort=name:asc&limit=1")
    assert by_name["backups"][0]["name"] == "b-0_server-01"


async def test_repeated_status_values_are_alternatives(payments: Caller):
    vault = await payments.vault()
    await payments.backup(vault["id"])
    assert (await payments.ok("GET", "/backups?status=error&status=available"))["count"] == 1
    assert (await payments.ok("GET", "/backups?status=error"))["count"] == 0


async def test_children_are_listed_under_their_parent_only(payments: Caller):
    vault = await payments.vault()
    backup = await payments.backup(vault["id"])
    assert (await payments.ok("GET", "/backups"))["count"] == 1
    children = (await payments.ok("GET", f"/backups?parent_id={backup['id']}"))["backups"]
    assert [each["resource_type"] for each in children] == ["OS::Cinder::Volume"] * 2


async def test_a_vault_is_found_by_what_it_holds(payments: Caller):
    vault = await payments.vault()
    await payments.vault(servers=0, name="other")
    resource = vault["resources"][0]["id"]
    assert [
        each["id"]
        for each in (await payments.ok("GET", f"/vaults?resource_ids={resource}"))["vaults"]
    ] == [vault["id"]]
    both = await payments.ok("GET", f"/vaults?id={vault['id']}&id=unknown")
    assert both["count"] == 1
