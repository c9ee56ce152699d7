"""The rules by which the emulator cuts lists into pages."""

import httpx
import pytest

from emulator.settings import PAYMENTS_PROJECT_ID
from tests.emulator.conftest import Caller, control

SERVERS = "/protectables/server/instances"


async def listed(payments: Caller, query: str) -> list[str]:
    return [
        row["name"] for row in (await payments.ok("GET", f"{SERVERS}?name=s-&{query}"))["instances"]
    ]


@pytest.fixture
async def ids(http: httpx.AsyncClient) -> dict[str, str]:
    """Five servers, by name."""
    wish = [{"name": f"s-{number}"} for number in range(5)]
    made = await control(
        http, "POST", "/seed", {"project_id": PAYMENTS_PROJECT_ID, "servers": wish}
    )
    return {row["name"]: row["id"] for row in made["servers"]}


@pytest.mark.parametrize(
    ("rules", "query", "shown"),
    [
        ({}, "limit=2&offset=1", "12"),
        ({"offset": "pages"}, "limit=2&offset=0", "01"),
        ({"offset": "pages"}, "limit=2&offset=1", "01"),
        ({"offset": "pages"}, "limit=2&offset=3", "4"),
        ({"offset": "pages_from_0"}, "limit=2&offset=1", "23"),
        ({"offset": "ignored"}, "limit=2&offset=3", "01"),
        ({"cap": 2}, "limit=4&offset=1", "12"),
        ({"short": True}, "limit=4", "01"),
    ],
)
@pytest.mark.usefixtures("ids")
async def test_offsets_and_limits_mean_what_was_set(http, payments, rules, query, shown):
    await control(http, "POST", "/paging", rules)
    assert await listed(payments, query) == [f"s-{number}" for number in shown]


@pytest.mark.parametrize(("rules", "shown"), [({}, "34"), ({"marker": "ignored"}, "01")])
async def test_a_marker_leads_on_unless_it_is_ignored(http, payments, ids, rules, shown):
    await control(http, "POST", "/paging", rules)
    assert await listed(payments, f"limit=2&marker={ids['s-2']}") == [
        f"s-{number}" for number in shown
    ]


async def test_a_marker_leads_on_in_every_list_only_where_that_is_set(http, payments):
    made = [(await payments.vault(name=f"v-{number}"))["id"] for number in range(3)]
    query = f"/vaults?limit=1&marker={made[2]}"
    assert [row["id"] for row in (await payments.ok("GET", query))["vaults"]] == [made[2]]
    await control(http, "POST", "/paging", {"marker": "everywhere"})
    assert [row["id"] for row in (await payments.ok("GET", query))["vaults"]] == [made[1]]


@pytest.mark.parametrize(
    ("missing", "status", "rows"),
    [("empty", 200, 0), ("start", 200, 2), ("bad_request", 400, 0), ("not_found", 404, 0)],
)
@pytest.mark.usefixtures("ids")
async def test_a_marker_that_is_gone_gives_what_was_set(http, payments, missing, status, rows):
    await control(http, "POST", "/paging", {"missing_marker": missing})
    told, body = await payments(
        "GET", f"{SERVERS}?name=s-&limit=2&marker=00000000-0000-0000-0000-000000000000"
    )
    assert (told, len(body.get("instances", ()))) == (status, rows)


@pytest.mark.parametrize(
    ("count", "told"),
    [("total", 5), ("page", 2), ("so_far", 2), ("less", 0), ("more", 10), ("none", None)],
)
@pytest.mark.usefixtures("ids")
async def test_the_count_tells_what_was_set(http, payments, count, told):
    await control(http, "POST", "/paging", {"count": count})
    assert (await payments.ok("GET", f"{SERVERS}?name=s-&limit=2")).get("count") == told


async def test_vaults_come_newest_first_unless_set_otherwise(http, payments):
    made = [(await payments.vault(name=f"v-{number}"))["id"] for number in range(3)]
    assert [row["id"] for row in (await payments.ok("GET", "/vaults"))["vaults"]] == made[::-1]
    found = await payments.ok("POST", "/vault/resource_instances/action", {"action": "filter"})
    assert [row["resource_id"] for row in found["resources"]] == made[::-1]
    await control(http, "POST", "/paging", {"vaults": "oldest_first"})
    assert [row["id"] for row in (await payments.ok("GET", "/vaults"))["vaults"]] == made


async def test_rules_stay_until_they_are_changed_or_the_emulator_is_reset(http):
    await control(http, "POST", "/paging", {"cap": 3})
    assert (await control(http, "POST", "/paging", {"count": "page"}))["cap"] == 3
    await control(http, "POST", "/reset")
    assert (await control(http, "GET", "/paging"))["cap"] == 1000
    assert (await http.post("/_emulator/paging", json={"offset": "columns"})).status_code == 400
