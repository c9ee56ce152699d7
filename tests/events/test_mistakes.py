"""Mistakes in the configuration of sinks, and the commands about events."""

import asyncio
import json
import re
from pathlib import Path
from typing import get_args

import pytest
import structlog.testing
import yaml
from click.testing import CliRunner

from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.config import ConfigError, load
from gateway.events.settings import EventSettings
from gateway.events.sink_queues import SinkQueues
from gateway.events.types import Outcome
from gateway.process import warn
from gateway.state import StoreSettings, open_store
from tests.events.receiver import KEY, OTHER_KEY
from tests.events.test_delivery import event

ROOT = Path(__file__).parents[2]
ENVIRON = {
    "ACME_ACCESS_KEY": "access",
    "ACME_SECRET_KEY": "secret",
    "GLOBEX_PASSWORD": "password",
    "HOOK_KEY": KEY,
    "OTHER_KEY": OTHER_KEY,
    "SAME_KEY": KEY,
    "SHORT_KEY": "whsec_c2hvcnQ=",
    "PLAIN_KEY": "canary-key-that-is-none",
}
GOOD = {"name": "ops", "url": "https://hooks.example.com/a", "keys": [{"env": "HOOK_KEY"}]}
TWICE = [{"env": "HOOK_KEY"}, {"env": "HOOK_KEY"}]
SAME = [{"env": "HOOK_KEY"}, {"env": "SAME_KEY"}]
LIMIT, ENDED = "com.cbrgateway.limit.reached.v1", "com.cbrgateway.task.ended.v1"
OTHER = GOOD | {"name": "other", "url": "https://hooks.example.com/b"}


def written(folder, events, **more):
    config = yaml.safe_load((ROOT / "config" / "example.yaml").read_text()) | more
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump(config | {"events": events}, sort_keys=False))
    return path


def run(*arguments):
    return CliRunner().invoke(main, arguments, env=ENVIRON, prog_name="cbr-gateway")


def line_of(path, text):
    lines = path.read_text().splitlines()
    return max(n for n, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize(
    ("events", "key", "near", "says"),
    [
        ({"sinks": [GOOD | {"url": "http://hooks.example.com/a"}]}, "url", "http://", "https"),
        ({"sinks": [GOOD | {"url": "hooks.example.com"}]}, "url", "hooks.ex", "no address"),
        ({"sinks": [GOOD | {"url": "https://u:p@a.example/"}]}, "url", "a.example", "user"),
        ({"sinks": [GOOD | {"url": "https://127.0.0.1/a"}]}, "url", "127.0.0.1", "not public"),
        ({"sinks": [GOOD | {"url": "https://[::1]/a"}]}, "url", "::1", "not public"),
        ({"sinks": [GOOD | {"url": "https://a:b/"}]}, "url", "a:b", "no address"),
        (
            {"sinks": [GOOD | {"types": ["com.cbrgateway.task.started.v1"]}]},
            "types[0]",
            "started",
            "must be",
        ),
        (
            {"sinks": [GOOD | {"types": [LIMIT], "outcomes": ["failed"]}]},
            "types[0]",
            "limit.reached",
            "has none of the outcomes",
        ),
        (
            {"sinks": [GOOD | {"types": [LIMIT, ENDED], "outcomes": ["failed"]}]},
            "types[0]",
            "limit.reached",
            "Add one to outcomes (reached)",
        ),
        (
            {"sinks": [GOOD | {"types": [ENDED], "outcomes": ["failed", "missed"]}]},
            "outcomes[1]",
            "- missed",
            "Add com.cbrgateway.schedule.missed.v1 to types",
        ),
        ({"sinks": [GOOD | {"url": "https://a.example:0/"}]}, "url", "a.example", "port 0"),
        ({"sinks": [GOOD | {"url": "https://a..example/"}]}, "url", "a..example", "no address"),
        ({"sinks": [GOOD | {"outcomes": ["broken"]}]}, "outcomes[0]", "broken", "must be"),
        ({"sinks": [GOOD | {"tenants": ["nobody"]}]}, "tenants[0]", "nobody", "not a tenant"),
        ({"sinks": [GOOD | {"keys": [{"env": "SHORT_KEY"}]}]}, "keys[0]", "SHORT", "24 to 64"),
        ({"sinks": [GOOD | {"keys": [{"env": "PLAIN_KEY"}]}]}, "keys[0]", "PLAIN", "whsec_"),
        ({"sinks": [GOOD | {"keys": []}]}, "keys", "keys: []", "at least one"),
        ({"sinks": [GOOD | {"keys": TWICE}]}, "keys", " keys:", "one key twice"),
        ({"sinks": [GOOD | {"keys": SAME}]}, "keys", " keys:", "one key twice"),
        ({"sinks": [GOOD, OTHER | {"name": "ops"}]}, "name", "", "also the name"),
        ({"sinks": [GOOD, OTHER | {"url": GOOD["url"]}]}, "url", "", "also the url"),
        ({"sinks": [GOOD], "give_up_s": 60}, "give_up_s", "give_up_s", "at least"),
        ({"sinks": [GOOD], "allowed_networks": ["ten"]}, "allowed_networks[0]", "ten", "network"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, events, key, near, says):
    path = written(tmp_path, events)
    with pytest.raises(ConfigError) as report:
        load(path, ENVIRON, {})
    text = str(report.value)
    (told,) = [line for line in text.splitlines() if key in line and says in line]
    if near:
        assert f"{path}:{line_of(path, near)}" in told
    assert "canary" not in text


HERE = (
    *("2130706433", "127.1", "0x7f000001", "0x7F.1", "0177.0.0.1", "017700000001", "[::1]"),
    *("localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "hook.localhost"),
    "[::ffff:127.0.0.1]",
)
ELSEWHERE = ("0", "0.0.0.0", "10.1", "169.254.169.254", "0xa9fea9fe", "[fe80::1]", "[fd00::1]")


@pytest.mark.parametrize("host", [*HERE, *ELSEWHERE])
def test_an_address_that_is_not_public_is_refused_in_any_form(tmp_path, host):
    path = written(tmp_path, {"sinks": [GOOD | {"url": f"https://{host}:8443/a"}]})
    with pytest.raises(ConfigError) as report:
        load(path, ENVIRON, {})
    (told,) = str(report.value).splitlines()[1:]
    assert f"events.sinks[0].url ({path}:{line_of(path, ':8443/a')}): leads to " in told
    assert "not public. Name its network in events.allowed_networks" in told


@pytest.mark.parametrize("host", HERE)
def test_and_taken_where_its_network_is_allowed(tmp_path, host):
    events = {"sinks": [GOOD | {"url": f"https://{host}/a"}]}
    load(written(tmp_path, events | {"allowed_networks": ["127.0.0.0/8", "::/0"]}), ENVIRON, {})


@pytest.mark.parametrize("host", ["8.8.8.8", "134744072", "localhost.example.com", "notlocalhost"])
def test_public_addresses_and_names_that_must_be_asked_for_are_taken(tmp_path, host):
    load(written(tmp_path, {"sinks": [GOOD | {"url": f"https://{host}/a"}]}), ENVIRON, {})


def test_the_example_for_who_is_on_call_takes_every_outcome_but_success():
    """Copied as it stands, it must leave out nothing that went wrong."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "events.md").read_text(), re.DOTALL)
    sinks = [sink for block in blocks for sink in yaml.safe_load(block)["events"]["sinks"]]
    (taken,) = [set(sink["outcomes"]) for sink in sinks if sink["name"] == "on-call"]
    assert taken == set(get_args(Outcome)) - {"succeeded"}


def test_check_tells_them(tmp_path):
    result = run("check", "--config", str(written(tmp_path, {"sinks": [GOOD, GOOD]})))
    assert result.exit_code == 1
    assert "events.sinks[1].name" in result.output


@pytest.mark.parametrize(
    ("sinks", "state", "warned"),
    [
        ([GOOD], {}, True),
        ([GOOD], {"path": "./:memory:"}, True),
        ([GOOD], {"path": "kept.db"}, False),
        ([], {}, False),
    ],
)
def test_a_store_that_forgets_events_is_warned_of(tmp_path, monkeypatch, sinks, state, warned):
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path, {"sinks": sinks}, state=state)
    result = run("check", "--config", str(path))
    assert result.exit_code == 0, result.output
    assert ('Warning: state.path is ":memory:": events' in result.stderr) is warned
    with structlog.testing.capture_logs() as logs:
        warn(load(path, ENVIRON, {}))
    assert any("events.sinks have not taken" in each["event"] for each in logs) is warned


def test_authorities_that_cannot_be_read_are_named(tmp_path):
    sink = GOOD | {"ca_file": str(tmp_path / "none.pem")}
    result = run("check", "--config", str(written(tmp_path, {"sinks": [sink]})))
    assert result.exit_code == 1
    assert "events.sinks[0].ca_file" in result.output


def test_http_and_a_private_network_are_taken_where_that_is_said(tmp_path):
    sink = GOOD | {"url": "http://127.0.0.1:8080/a", "tenants": []}
    events = {"sinks": [sink], "allow_http": True, "allowed_networks": ["127.0.0.0/8"]}
    result = run("check", "--config", str(written(tmp_path, events)))
    assert result.exit_code == 0, result.output


def test_the_configuration_is_printed_without_keys(tmp_path):
    path = written(tmp_path, {"sinks": [GOOD | {"keys": [{"env": "HOOK_KEY"}]}]})
    result = run("config", "print", "--config", str(path))
    assert result.exit_code == 0, result.output
    assert "whsec_" not in result.output
    assert "HOOK_KEY" in result.output


async def _given_up(path, count):
    known = EventSettings.model_validate({"sinks": [GOOD]}, context={"environ": ENVIRON})
    async with open_store(StoreSettings(path=path), SystemClock()) as store:
        pending = SinkQueues(known, store.queues, SystemClock())
        for n in range(count):
            await pending.put(event(n))
        for each in await store.queues.read("events:ops", 0, 100):
            await pending.give_up(pending.settings.sinks[0], each, "it answered with status 500")


async def _queued(path, count):
    async with open_store(StoreSettings(path=path), SystemClock()) as store:
        for n in range(count):
            await store.queues.put("events:ops", f"waits-{n}", b"", 100)


def test_dead_letters_are_listed_and_sent_again(tmp_path):
    store = tmp_path / "state.db"
    path = written(tmp_path, {"sinks": [GOOD, OTHER]}, state={"path": str(store)})
    asyncio.run(_given_up(store, 3))
    listed = run("events", "dead", "--config", str(path))
    assert listed.exit_code == 0, listed.output
    lines = listed.output.splitlines()
    assert len(lines) == 3
    for n, line in enumerate(lines):
        for word in ("ops", "com.cbrgateway.task.ended.v1", f"task-{n}", "status 500"):
            assert word in line
    as_json = run("events", "dead", "--config", str(path), "--json", "--sink", "ops")
    assert [json.loads(line)["id"] for line in as_json.output.splitlines()] == [
        "task-0",
        "task-1",
        "task-2",
    ]
    assert "3 events" in run("events", "resend", "--config", str(path)).output
    assert "no dead letters" in run("events", "dead", "--config", str(path)).output


def test_what_could_not_be_sent_again_is_told_with_its_reason(tmp_path):
    store = tmp_path / "state.db"
    events = {"sinks": [GOOD], "max_queued": 100}
    path = written(tmp_path, events, state={"path": str(store)})
    asyncio.run(_given_up(store, 3))
    asyncio.run(_queued(store, 98))
    some = run("events", "resend", "--config", str(path))
    assert some.exit_code == 1
    assert "2 events are in the queues again." in some.output
    assert "1 events of ops are dead letters still: its queue is full" in some.output
    assert "max_queued" in some.output
    none = run("events", "resend", "--config", str(path), "--sink", "ops")
    assert none.exit_code == 1
    assert "0 events are in the queues again." in none.output
    assert len(run("events", "dead", "--config", str(path)).output.splitlines()) == 1


@pytest.mark.parametrize("command", ["dead", "resend"])
def test_a_sink_that_does_not_exist_is_refused_with_those_that_do(tmp_path, command):
    store = tmp_path / "state.db"
    path = written(tmp_path, {"sinks": [GOOD, OTHER]}, state={"path": str(store)})
    asyncio.run(_given_up(store, 1))
    result = run("events", command, "--config", str(path), "--sink", "opps")
    assert result.exit_code == 1
    assert "opps is no sink of this configuration. They are ops, other" in result.output


def test_dead_letters_of_a_sink_that_was_removed_are_listed_and_stay(tmp_path):
    store = tmp_path / "state.db"
    path = written(tmp_path, {"sinks": [OTHER]}, state={"path": str(store)})
    asyncio.run(_given_up(store, 1))
    again = run("events", "resend", "--config", str(path), "--sink", "ops")
    assert (again.exit_code, "in the queues again" in again.output) == (1, False)
    listed = run("events", "dead", "--config", str(path), "--sink", "ops")
    assert listed.exit_code == 0
    assert "task-0" in listed.output


def test_a_store_that_is_not_there_is_told(tmp_path):
    path = written(tmp_path, {"sinks": [GOOD]}, state={"path": str(tmp_path / "none.db")})
    result = run("events", "dead", "--config", str(path))
    assert result.exit_code == 1
    assert "none.db" in result.output


@pytest.mark.parametrize("command", ["dead", "resend"])
def test_a_store_in_memory_is_told_with_what_to_do(tmp_path, command):
    result = run("events", command, "--config", str(written(tmp_path, {"sinks": [GOOD]})))
    assert result.exit_code == 1
    for word in (":memory:", "state.path", "cbr_dead_events"):
        assert word in result.output


@pytest.mark.parametrize("command", ["dead", "resend"])
def test_a_store_that_a_running_gateway_holds_is_told_with_what_to_do(tmp_path, command):
    state = tmp_path / "state.db"
    path = written(tmp_path, {"sinks": [GOOD]}, state={"path": str(state)})

    async def held():
        async with open_store(StoreSettings(path=state), SystemClock()):
            return await asyncio.to_thread(run, "events", command, "--config", str(path))

    result = asyncio.run(held())
    assert result.exit_code == 1
    for word in ("state.db", "Stop the gateway", "Valkey"):
        assert word in result.output


def test_the_published_schema_is_the_one_that_is_printed():
    printed = run("events", "schema").output
    assert printed == (ROOT / "docs" / "events.schema.json").read_text()
