"""The alerts and dashboards in deploy/, checked by the tools that will read them."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml

from gateway.metrics.metrics import FAMILIES
from testkit.ports import free_port
from tests.functional.calls import caller
from tests.harness import running_gateway
from tests.metrics.until import until_true

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
TESTS = sorted((DEPLOY / "prometheus").glob("*.test.yaml"))
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
_NAME = re.compile(r"\b(?:cbr|grpc|process)_\w+")
_NO_NAMES = re.compile(r"\bby \([^)]*\)|\{[^}]*\}")
_SUFFIX = re.compile(r"_(?:bucket|count|sum)$")


def tool(name):
    """The path of a tool of Debian's package `prometheus`.

    Without it the test is skipped, but not in CI, which installs it.
    """
    if found := shutil.which(name):
        return found
    assert "PROMETHEUS_NEEDED" not in os.environ, f"{name} is to be there"
    pytest.skip(f"{name} is not installed (Debian's package prometheus)")


def promtool(*arguments):
    done = subprocess.run(
        [tool("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GOGC": "800"},  # Collecting garbage is most of what it does.
    )
    assert done.returncode == 0, done.stdout + done.stderr


def rules():
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries():
    """What dashboards ask for, with an interval in place of Grafana's."""
    return [
        target["expr"].replace("$__rate_interval", "5m")
        for file in DASHBOARDS
        for panel in json.loads(file.read_text())["panels"]
        for target in panel["targets"]
    ]


def names(query):
    """The metrics in it."""
    return _NAME.findall(_NO_NAMES.sub("", query))


def test_the_rules_are_rules():
    promtool("check", "rules", ALERTS)


def test_each_alert_fires_when_it_should_and_not_before(tmp_path):
    """Each test with the rules alone that it asks about: else all are evaluated, each minute."""
    cases, files, by_name = [], [], {rule["alert"]: rule for rule in rules()}
    for file in TESTS:
        whole = yaml.safe_load(file.read_text())
        for test in whole["tests"]:
            cases += test["alert_rule_test"]
            asked = {case["alertname"] for case in test["alert_rule_test"]}
            files.append(tmp_path / f"{len(files)}.test.yaml")
            part = {"name": "part", "rules": [by_name[name] for name in sorted(asked)]}
            rule_file = files[-1].with_suffix(".rules")
            rule_file.write_text(yaml.safe_dump({"groups": [part]}))
            one = whole | {"rule_files": [rule_file.name], "tests": [test]}
            files[-1].write_text(yaml.safe_dump(one))
    promtool("test", "rules", *files)
    names = {rule["alert"] for rule in rules()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_each_alert_has_its_runbook():
    heads = re.findall(r"^### (Cbr\w+)$", PAGE, re.MULTILINE)
    assert heads == [rule["alert"] for rule in rules()]
    for rule in rules():
        anchor = rule["annotations"]["runbook"]
        assert anchor == f"docs/observability.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_what_dashboards_ask_for_are_queries(tmp_path):
    asked = [{"record": f"panel:{i}", "expr": query} for i, query in enumerate(queries())]
    file = tmp_path / "dashboards.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": asked}]}))
    promtool("check", "rules", file)


def test_rules_and_dashboards_name_only_metrics_that_there_are():
    known = {each.name: each for each in FAMILIES}
    asked = [*queries(), *(rule["expr"] for rule in rules())]
    named = {name for query in asked for name in names(query)}
    unknown = {
        name
        for name in named
        if name not in known
        and getattr(known.get(_SUFFIX.sub("", name)), "kind", "") != "histogram"
    }
    assert not unknown
    shown = {_SUFFIX.sub("", name) for query in queries() for name in names(query)}
    constant = {"cbr_build_info", "cbr_config_info", "grpc_server_started_total"}
    left = {name for name in known if not name.startswith("process_")} - constant - shown
    assert not left, "no dashboard shows them"


def test_dashboards_can_be_told_apart():
    found = [json.loads(file.read_text()) for file in DASHBOARDS]
    assert {file.stem for file in DASHBOARDS} == {"service", "cbr", "work", "tenants"}
    assert len({each["uid"] for each in found}) == len({each["title"] for each in found}) == 4
    for each in found:
        ids = [panel["id"] for panel in each["panels"]]
        assert len(set(ids)) == len(ids)


@pytest.fixture
def prometheus(tmp_path):
    """Starts one that scrapes an address; the address of its API."""
    processes = []

    def start(target):
        listen = f"127.0.0.1:{free_port()}"
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {"job_name": "cbr-gateway", "static_configs": [{"targets": [target]}]}
            ],
        }
        (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
        command = [
            tool("prometheus"),
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={listen}",
            "--enable-feature=exemplar-storage",
        ]
        with (tmp_path / "prometheus.log").open("wb") as log:
            processes.append(subprocess.Popen(command, stderr=log, stdout=log))
        return f"http://{listen}/api/v1"

    yield start
    for process in processes:
        process.terminate()
        process.wait(30)


async def test_a_prometheus_takes_what_a_gateway_shows(prometheus):
    async with (
        running_gateway(sections={"admin": {"listen": "127.0.0.1:0"}}) as world,
        httpx.AsyncClient() as client,
    ):
        await caller(world).ok("VaultService/ListVaults")
        api = prometheus(world.app.admin_address)

        async def asked(path, **parameters):
            try:
                answer = await client.get(f"{api}/{path}", params=parameters)
            except httpx.TransportError:
                return None
            return answer.json().get("data") if answer.status_code == 200 else None

        async def evaluated():
            found = await asked("rules")
            states = [
                rule for group in (found or {"groups": []})["groups"] for rule in group["rules"]
            ]
            return len(states) == len(rules()) and {rule["health"] for rule in states} == {"ok"}

        async def scraped():
            found = await asked("query", query='grpc_server_handled_total{grpc_code="OK"}')
            return found and [each["value"][1] for each in found["result"]] == ["1"]

        async def exemplified():
            return await asked(
                "query_exemplars",
                query="grpc_server_handling_seconds_bucket",
                start="2020-01-01T00:00:00Z",
                end="2100-01-01T00:00:00Z",
            )

        for each in (scraped, evaluated, exemplified):
            await until_true(each, within_s=60)
        (target,) = (await asked("targets"))["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        (found,) = await exemplified()
        assert found["exemplars"][0]["labels"].keys() == {"request_id"}
