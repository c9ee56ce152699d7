"""The console in a real Chromium: what changes by itself, keys, narrow screens, names of others."""

import contextlib
import shutil
from urllib.parse import quote

import pytest
from cbrgateway.v1 import task_pb2
from google.protobuf.timestamp_pb2 import Timestamp
from playwright.async_api import async_playwright

from gateway.watch.row import Row
from tests.functional.calls import caller
from tests.functional.stage import vault
from tests.functional.worker_processes import Gateway, running
from tests.harness import running_gateway

PAGES = ("overview", "tasks", "vaults", "limits", "changes", "audit")
HOSTILE = "<img src=x onerror='alert(1)'>"
SECTIONS = {
    "admin": {"listen": "127.0.0.1:0", "console": True},
    "watch": {"follow": "always", "busy_s": 0.2, "idle_s": 0.5, "keep_tasks": 20_000},
    "metrics": {"vaults_s": 0.5},
}
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
CONTRAST = """() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const [r, g, b] = parts(text).map((part) => part / 255)
      .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const below = (node) => {
    for (; node; node = node.parentElement) {
      const color = getComputedStyle(node).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("h1, h2, p, td, th, a, label, button, .who")].map((node) => {
    const [one, two] = [light(getComputedStyle(node).color), light(below(node))];
    return [(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), node.outerHTML];
  }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.fixture(scope="module")
async def world():
    async with running_gateway(sections=SECTIONS) as world:
        yield world


@pytest.fixture(scope="module")
async def browser():
    program = shutil.which("chromium")
    assert program, "there is no Chromium: apt-get install chromium"
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=program, args=list(QUIET))
        yield browser
        await browser.close()


def address(world):
    return world.admin if isinstance(world, Gateway) else world.app.admin_address


@contextlib.asynccontextmanager
async def opened(world, browser, expected=(), **how):
    """A page of an administrator's; nothing may be complained of while it is open but what is
    expected.
    """
    who = {"username": "anybody", "password": "key-of-admin"}
    context = await browser.new_context(
        base_url=f"http://{address(world)}", http_credentials=who, **how
    )
    page, complaints = await context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"a script ran: {dialog.message}"))
    try:
        yield page
    finally:
        await context.close()
    assert [any(part in told for part in expected) for told in complaints] == [True] * len(expected)


async def test_a_task_is_followed_to_its_end_without_a_reload(world, browser):
    payments = caller(world)
    async with opened(world, browser) as page:
        await page.goto("/console/tasks")
        await page.evaluate("window.stayed = true")
        held = await vault(payments, 1)
        named = {"checkpoint": {"vault_id": held.id}}
        await payments.ok("CheckpointService/CreateCheckpoint", named)
        row = page.locator("tr", has_text="backup")
        await row.locator("td", has_text="succeeded").wait_for(timeout=60_000)
        assert await page.evaluate("window.stayed")


async def test_workers_have_one_console(tmp_path, browser):
    sections = SECTIONS | {"admin": {"listen": None, "console": True}}
    async with running(tmp_path, **sections) as gateway, opened(gateway, browser) as page:
        for name in PAGES:
            await page.goto(f"/console/{name}")
            assert await page.locator("h2").count(), name
        await page.goto("/console/overview")
        await page.get_by_text("2 of 2 workers").wait_for(timeout=60_000)
        await page.goto("/console/tasks")
        await page.evaluate("window.stayed = true")
        async with gateway.callers() as worlds:
            held = await vault(caller(worlds[0]), 1)
            named = {"checkpoint": {"vault_id": held.id}}
            await caller(worlds[-1]).ok("CheckpointService/CreateCheckpoint", named)
        row = page.locator("tr", has_text="backup")
        await row.locator("td", has_text="succeeded").wait_for(timeout=60_000)
        assert await page.evaluate("window.stayed")


async def test_names_of_others_run_no_script(world, browser):
    held = await vault(caller(world))
    world.emulator.state.world.vaults[held.id].name = HOSTILE
    async with opened(world, browser) as page:
        # It comes by an event, into a page that is there already.
        await page.goto("/console/vaults")
        await page.get_by_text(HOSTILE).wait_for(timeout=60_000)
        assert await page.locator("img").count() == 0
        for name in PAGES:
            fields = "&".join(f"{each}={quote(HOSTILE)}" for each in ("q", "tenant", "operation"))
            await page.goto(f"/console/{name}?{fields}")
            assert await page.locator("img").count() == 0


async def test_a_script_in_the_page_would_not_run(world, browser):
    async with opened(world, browser, expected=["violates the following Content Security"]) as page:
        await page.goto("/console/tasks")
        ran = """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          return window.ran;
        }"""
        assert await page.evaluate(ran) is None


async def test_everything_is_reached_by_the_keyboard_alone(world, browser):
    async with opened(world, browser) as page:
        await page.goto("/console/overview")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the page"
        for name in PAGES:
            await page.keyboard.press("Tab")
            text = await page.evaluate("document.activeElement.textContent")
            assert text.lower() == name
            outline = "getComputedStyle(document.activeElement).outlineStyle"
            assert await page.evaluate(outline) != "none"
        await page.goto("/console/tasks")
        await page.get_by_label("Search").focus()
        await page.keyboard.type("nothing like it")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**q=nothing+like+it")
        assert await page.get_by_text("nothing that fits").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_text_stands_out_from_what_is_behind_it(world, browser, scheme):
    async with opened(world, browser, color_scheme=scheme) as page:
        for name in PAGES:
            await page.goto(f"/console/{name}")
            assert await page.evaluate(CONTRAST) == [], name


async def test_a_narrow_screen_scrolls_tables_and_not_the_page(world, browser):
    async with opened(world, browser, viewport={"width": 340, "height": 700}) as page:
        for name in PAGES:
            await page.goto(f"/console/{name}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= 340, name


async def test_ten_thousand_tasks_are_paged_and_searched(world, browser):
    (poller, *_) = world.app.hub.tracker.pollers()
    for number in range(10_000):
        task = task_pb2.Task(id=f"many-{number:05}", status=task_pb2.TASK_STATUS_SUCCEEDED)
        task.create_time.FromSeconds(1_000_000_000 + number)
        task.end_time.FromSeconds(1_000_000_000 + number)
        poller.table.rows[task.id] = Row(task, Timestamp())
    async with opened(world, browser) as page:
        await page.goto("/console/tasks?q=many-")
        assert await page.locator("tbody tr").count() == 200
        assert await page.get_by_text("10000 in all, from 1 to 200").count() == 1
        await page.get_by_role("link", name="Next page").click()
        await page.get_by_text("from 201 to 400").wait_for()
        await page.goto("/console/tasks?q=many-00007")
        assert await page.locator("tbody tr").count() == 1
