"""The console over HTTP: who may look, what the pages show, and pages that go on to change."""

import asyncio
import contextlib
import re
from html import escape

import httpx
import pytest

from gateway.admin.settings import AdminSettings
from gateway.app import open_app
from gateway.config import ConfigError, Problem
from gateway.console.page import ROWS, Asked, Cell, age, listed
from tests.functional.calls import caller
from tests.functional.stage import vault
from tests.harness import REGION, TENANTS, config_for, running_gateway

LIVE = ("overview", "tasks", "vaults")
PAGES = ("overview", "tasks", "vaults", "limits", "changes", "audit")
ADDRESSES = (
    "/console",
    *(f"/console/{name}" for name in PAGES),
    *(f"/console/{name}/live" for name in LIVE),
)
PAYMENTS, _ = TENANTS["payments"]
HOSTILE = '<img src=x onerror="alert(1)">'
KEY = "0123456789abcdef0123456789abcdef"
LIMITS = [{"metric": "vaults", "level": "tenant", "subject": "payments", "value": 4}]


@pytest.fixture(scope="module")
async def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    (folder / "key").write_text(KEY)
    (folder / "key").chmod(0o600)
    sections = {
        "admin": {"listen": "127.0.0.1:0", "console": True},
        "audit": {"directory": str(folder / "log"), "key": {"file": str(folder / "key")}},
        "quota": {"markers": False, "recovery": False},
        "limits": LIMITS,
        "watch": {"follow": "always", "busy_s": 0.2, "idle_s": 0.5},
        "metrics": {"vaults_s": 0.5},
    }
    async with running_gateway(sections=sections) as world:
        yield world


@contextlib.asynccontextmanager
async def browsing(world, key="key-of-admin"):
    base, auth = f"http://{world.app.admin_address}", httpx.BasicAuth("anybody", key)
    async with httpx.AsyncClient(base_url=base, auth=auth, timeout=30) as client:
        yield client


@pytest.fixture
async def console(world):
    async with browsing(world) as client:
        yield client


def cells(page):
    """The text of each row's cells."""
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [re.findall(r"<td[^>]*>(?:<progress.*?</progress> )?(.*?)</td>", row) for row in rows]


async def eventually(true, within_s=60):
    """Asks again until it is true."""
    async with asyncio.timeout(within_s):
        while not await true():  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.05)


async def shown(console, page, *texts):
    """The page, once it shows all of that."""
    found = ""

    async def there():
        nonlocal found
        answer = await console.get(f"/console/{page}")
        assert answer.status_code == 200, answer.text
        found = answer.text
        return all(text in found for text in texts)

    await eventually(there)
    return found


async def test_every_page_answers_an_administrator_and_runs_nothing_of_others(console):
    for page in ("", *(f"/{name}" for name in PAGES)):
        answer = await console.get(f"/console{page}")
        assert answer.status_code == 200, page
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r" on[a-z]+=| style=|<script>|<style", answer.text), page


@pytest.mark.parametrize("name", ["console.css", "console.js"])
async def test_the_files_of_pages_need_no_key(world, name):
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://{world.app.admin_address}/console/{name}")
    assert (answer.status_code, bool(answer.text)) == (200, True)


async def test_who_shows_no_key_is_asked_for_one(world):
    async with httpx.AsyncClient(base_url=f"http://{world.app.admin_address}") as client:
        for address in ADDRESSES:
            answer = await client.get(address)
            assert answer.status_code == 401, address
            assert answer.headers["www-authenticate"].startswith("Basic ")
        broken = await client.get("/console", headers={"authorization": "Basic !!!"})
    assert (broken.status_code, "API key" in broken.text) == (401, True)


@pytest.mark.parametrize(("key", "status"), [("nobody's", 401), ("key-of-payments", 403)])
async def test_a_wrong_key_and_one_of_no_administrator_see_nothing(world, key, status):
    async with browsing(world, key) as client:
        for address in ADDRESSES:
            answer = await client.get(address)
            assert answer.status_code == status, address
            assert "<" not in answer.text


async def test_a_browser_that_has_sent_a_key_is_asked_for_another_one(world):
    async with browsing(world, "key-of-payments") as client:
        refused = await client.get("/console")
        assert "Log in as another: /console/another" in refused.text
        again = await client.get("/console/another")
        assert again.status_code == 401
        assert again.headers["www-authenticate"].startswith("Basic ")
    async with browsing(world) as client:
        (link,) = re.findall(
            r'href="(/console/another\?[^"]*)"', (await client.get("/console")).text
        )
        assert (await client.get(link)).status_code == 401
        welcome = await client.get("/console/another?than=admin%2Fsomebody-else")
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/console")


async def test_projects_and_endpoints_have_the_names_of_tenants_and_regions(world, console):
    page = await shown(console, "overview", "</td>")
    await caller(world).ok("TaskService/ListTasks")
    page = await shown(console, "overview", PAYMENTS, world.emulator.base_url)
    (row,) = [row for row in cells(page) if row[:1] == [PAYMENTS]]
    assert row[1:3] == ["payments", REGION]
    (row, *_) = [row for row in cells(page) if row[:1] == [world.emulator.base_url]]
    assert REGION in row[1]


async def test_a_project_that_was_never_answered_is_not_told_as_read(world, console):
    silent = {"kind": "status", "status": 500, "match": {"operation": "ListOpLogs"}, "times": None}
    sections = {
        "admin": {"listen": "127.0.0.1:0", "console": True},
        "watch": {"follow": "always", "busy_s": 0.2, "idle_s": 0.5},
    }
    world.emulator.state.faults.add(silent)
    try:
        async with running_app(world, sections) as app, browsing_at(app) as client:
            page = await shown(client, "overview", PAYMENTS)
            (row,) = [row for row in cells(page) if row[:1] == [PAYMENTS]]
            assert row[4] == "never"
    finally:
        world.emulator.state.faults.remove()
    await shown(console, "overview", " ago")


async def test_a_configuration_that_was_refused_is_told_with_its_mistakes(world):
    mistake = "tenants[0].id (gateway.yaml:7): is missing. Write <it>"

    def load():
        raise ConfigError(
            [Problem(("tenants", 0, "id"), "gateway.yaml:7", "is missing. Write <it>")]
        )

    sections = {"admin": {"listen": "127.0.0.1:0", "console": True}}
    async with running_app(world, sections, load) as app, browsing_at(app) as client:
        await app.reloader.reload()
        await shown(client, "overview", f"Not taken over: {escape(mistake)}")


@contextlib.asynccontextmanager
async def running_app(world, sections, load=None):
    """Another gateway before the same CBR."""
    async with open_app(config_for(world.emulator.base_url, sections), load) as app:
        yield app


@contextlib.asynccontextmanager
async def browsing_at(app):
    auth = httpx.BasicAuth("anybody", "key-of-admin")
    base = f"http://{app.admin_address}"
    async with httpx.AsyncClient(base_url=base, auth=auth, timeout=30) as client:
        yield client


async def test_there_is_no_console_unless_it_is_asked_for():
    async with (
        running_gateway(sections={"admin": {"listen": "127.0.0.1:0"}}) as world,
        browsing(world) as client,
    ):
        assert (await client.get("/console")).status_code == 404


async def test_tasks_are_shown_with_their_progress_and_their_failure(world, console):
    payments = caller(world)
    held = await vault(payments, 1, name="followed")
    await payments.ok("CheckpointService/CreateCheckpoint", {"checkpoint": {"vault_id": held.id}})
    page = await shown(console, "tasks", "followed")
    (row,) = [row for row in cells(page) if "backup" in row]
    assert row[0] in {"waiting", "running", "succeeded"}
    nothing = await console.get("/console/tasks", params={"q": "no such thing"})
    assert "nothing that fits" in nothing.text
    one = await console.get("/console/tasks", params={"q": "BACKUP followed"})
    assert len([row for row in cells(one.text) if row]) == 1


async def test_vaults_are_shown_with_the_gap_since_their_last_success(world, console):
    held = await vault(caller(world), name="gap")
    page = await shown(console, "vaults", held.id)
    (row,) = [row for row in cells(page) if held.id in row]
    assert (row[0], row[2], row[3]) == ("none known", "none", "gap")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", row[7])


async def test_what_others_have_named_is_shown_and_not_run(world, console):
    held = await vault(caller(world, "databases"))
    world.emulator.state.world.vaults[held.id].name = HOSTILE
    page = await shown(console, "vaults", "&lt;img src=x onerror=&#34;alert(1)&#34;&gt;")
    assert "<img" not in page
    for name in PAGES:
        values = dict.fromkeys(("q", "tenant", "state", "operation", "since", "token"), HOSTILE)
        answer = await console.get(f"/console/{name}", params=values)
        assert "<img" not in answer.text, name
        assert answer.status_code == 200, name


async def test_more_fields_than_any_form_has_are_no_fields(console):
    answer = await console.get("/console/tasks?" + "q=x&" * 100)
    assert answer.status_code == 200


async def test_limits_are_shown_with_their_use_over_all_tenants(world, console):
    answer = await console.get("/console/limits")
    assert "vaults:tenant:payments" in answer.text
    one = await console.get("/console/limits", params={"tenant": "nobody"})
    assert one.status_code == 200
    assert "nobody" in one.text


async def test_the_audit_log_is_searched_and_its_chain_verified(world, console):
    await caller(world).ok("VaultService/ListVaults")
    made = await vault(caller(world), name="recorded")
    page = await shown(console, "audit?operation=CreateVault", made.id)
    assert all("CreateVault" in " ".join(row) for row in cells(page) if len(row) == 9)
    proved = await console.get("/console/audit", params={"verify": "1"})
    assert "whole" in proved.text
    assert "BAD" not in proved.text
    wrong = await console.get("/console/audit", params={"since": "yesterday"})
    assert "is no time" in wrong.text
    wrong = await console.get("/console/audit", params={"outcome": "lost"})
    assert "is none of succeeded" in wrong.text


async def test_a_page_that_changes_sends_what_is_new(world, console):
    async with console.stream("GET", "/console/tasks/live") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        lines = stream.aiter_lines()
        first = await anext(lines)
        assert first.startswith("data: ")
        held = await vault(caller(world), name="later")
        await caller(world).ok("VaultService/DeleteVault", {"vault_id": held.id, "force": True})
        async for line in lines:
            if "vault_delete" in line:
                break
        else:
            pytest.fail("the task was never shown")


async def test_as_many_pages_change_as_leave_room_for_probes(world, console):
    async with contextlib.AsyncExitStack() as stack:

        async def opened():
            stream = console.stream("GET", "/console/overview/live")
            return (await stack.enter_async_context(stream)).status_code

        # One that another test has left may hold its place for a moment.
        found = [await opened() for _ in range(7)]
        assert found[0] == 200
        assert found[-1] == 503
        assert (await console.get("/livez")).status_code == 200

    async def free():
        async with console.stream("GET", "/console/overview/live") as stream:
            return stream.status_code == 200

    await eventually(free)


async def test_who_looks_is_in_the_audit_log(world, console):
    await console.get("/console/vaults")
    page = await shown(console, "audit?operation=Console/vaults&tenant=admin", ">Console/vaults<")
    (first, *_) = [row for row in cells(page) if len(row) == 9]
    assert (first[1], first[3:6]) == ("read ended", ["admin", "test", "Console/vaults"])
    async with browsing(world, "nobody's") as client:
        await client.get("/console/limits")
    await shown(console, "audit?operation=Console/limits", "CREDENTIALS_INVALID")
    await console.get("/console/changes")
    await shown(console, "audit?operation=ListReservations", "QuotaService/ListReservations")


def test_a_page_makes_no_more_rows_than_it_shows():
    made = []

    def show(item):
        made.append(item)
        return [Cell(str(item))]

    table = listed("", ("",), range(10_000), show, Asked({"page": "3"}))
    assert made == list(range(2 * ROWS, 3 * ROWS))
    assert table.link.address == "?page=4"
    assert listed("", ("",), range(10_000), show, Asked({"page": "999"})).rows == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (3_700, "1 h 1 min"), (200_000, "2 d 7 h"), (-5, "0 s")],
)
def test_how_long_ago_is_told_in_two_units(seconds, text):
    assert age(seconds) == text


def test_without_its_library_the_console_is_refused_and_all_else_starts(monkeypatch):
    monkeypatch.setattr("gateway.extras.find_spec", lambda _name: None)
    assert not AdminSettings().console
    with pytest.raises(ValueError, match=r"pip install 'cbr-gateway\[console\]'"):
        AdminSettings(console=True)
