"""`check --online --report` and `record`: what a cloud answers to every read, without a word of the
account's in what they write.
"""

import asyncio
import contextlib
import json
import math
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import yaml
from cbrgateway.v1 import options_pb2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from emulator import settings as emulated
from emulator.server import EmbeddedServer, running_emulator, server_config
from emulator.transitions import Mode, Pace
from gateway.config import Config
from gateway.operations import load_catalog
from gateway.survey.differences import differences
from gateway.survey.fixtures import fixtures, write
from gateway.survey.report import HIDDEN, report
from gateway.survey.run import survey
from gateway.survey.sanitise import Sanitiser
from gateway.upstream.outcome import SUCCESS
from tests.harness import REGION, running_gateway, tenant_entry
from tests.isolation.tenants import stock
from tests.isolation.tenants import tenants as stocked

CANARY = "canary7081"
READS = {
    binding.operation: binding for binding in load_catalog() if binding.reads and binding.operation
}
NEVER = {
    "ListExternalVault",
    "ListDomainProjects",
    "ShowDomain",
    "CheckAgent",
    "ShowOrganizationPolicy",
    "ListOrganizationPolicyDetail",
}
"""Reads that want what no answer shows: a project of somebody else, the name of an account, hosts
to check, policies that there are none of.
"""


def test_an_older_key_of_a_member_is_no_difference():
    record = {"id": "r", "extra_info": {"destinatio_vault_id": "d"}}
    answer = {"backup": {"id": "b", "replication_records": [record]}}
    kind = READS["ShowBackup"].descriptor.output_type
    assert not [*differences(kind, answer)]
    shown = Sanitiser().answer(answer, kind)["backup"]["replication_records"][0]["extra_info"]
    assert [*shown] == ["destinatio_vault_id"]
    assert shown["destinatio_vault_id"] != "d"


@pytest.fixture(scope="module")
async def cloud():
    """An emulator with something of each kind in the project of `databases`."""
    async with running_gateway(sections={"tenants": stocked()}, pace=Pace(Mode.IMMEDIATE)) as world:
        have = await stock(world, "far")
        backup = have.ids[options_pb2.REFERS_BACKUP]
        await have.call.ok(
            "BackupShareService/AddBackupMembers",
            {"backup_id": backup, "project_ids": [emulated.RESEARCH_PROJECT_ID]},
        )
        yield world.emulator


def config(endpoint: str, flavor: str = "huawei") -> Config:
    """The one project that is stocked, opened with a password: signatures would not survive the
    change of a path on the way.
    """
    user = {
        "kind": "password",
        "user": emulated.IAM_USER,
        "domain": emulated.IAM_DOMAIN,
        "password": {"env": "PASSWORD"},
    }
    region = {"endpoint": endpoint, "iam_endpoint": endpoint, "flavor": flavor}
    data = {
        "upstream": {"regions": {REGION: region}, "credentials": {"main": user}},
        "tenants": [tenant_entry("databases")],
    }
    return Config.model_validate(data, context={"environ": {"PASSWORD": emulated.IAM_PASSWORD}})


@contextlib.asynccontextmanager
async def changed(behind: str, change: Callable[[Any], Any]) -> AsyncIterator[str]:
    """A cloud that answers otherwise than the one behind it."""

    async def serve(request: Request) -> Response:
        url = str(request.url).partition(request.url.netloc)[2].replace(CANARY, "")
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in {"x-auth-token", "content-type"}
        }
        there = await client.request(
            request.method,
            url,
            headers=headers,
            content=(await request.body()).replace(CANARY.encode(), b""),
        )
        token = (
            {"X-Subject-Token": there.headers["x-subject-token"]}
            if "x-subject-token" in there.headers
            else {}
        )
        body = json.dumps(there.json() if token else change(there.json()))
        return Response(body, there.status_code, token, "application/json")

    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/{path:path}", serve, methods=["GET", "POST"])])
    server = EmbeddedServer(server_config(app))
    async with httpx.AsyncClient(base_url=behind, trust_env=False) as client:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop.set()
            await serving


def marked(value: Any) -> Any:
    """An answer with a canary in every text, and a member more in every object, whose key is
    one.
    """
    if isinstance(value, str):
        return f"{value}{CANARY}"
    if isinstance(value, list):
        return [marked(item) for item in value]
    if isinstance(value, dict):
        return {
            **{key: marked(item) for key, item in value.items()},
            f"{CANARY}_{len(value)}": f"of the account {CANARY}",
        }
    return value


def drifted(value: Any) -> Any:
    """An answer with one difference of each kind in every vault."""
    for vault in value.get("vaults", []) if isinstance(value, dict) else ():
        vault["brand_new"] = {"secret-name": "x"}
        vault["name"] = 42
        vault["billing"]["object_type"] = "mainframe"
        vault["billing"]["size"] = {"gib": 1}
        vault["created_at"] = "yesterday"
    return value


def damaged(value: Any) -> Any:
    """An answer with what no reader can take in every vault."""
    for vault in value.get("vaults", []) if isinstance(value, dict) else ():
        vault["brand_new"] = {"n": math.nan}
        vault["name"] = "secret \ud83d"
        vault["billing"]["size"] = math.inf
    return value


async def test_the_report_names_what_differs_and_what_was_not_called(cloud):
    async with changed(cloud.base_url, drifted) as endpoint:
        told = report(await survey(config(endpoint), 60))
    (there,) = told["clouds"]
    assert (there["flavor"], there["projects"]) == ("huawei", 1)
    vaults = next(each for each in there["operations"] if each["operation"] == "ListVault")
    rows = {(each["path"], each["kind"]): each for each in vaults["differences"]}
    assert rows["vaults[].brand_new", "unknown_key"]["type"] == "object"
    assert (
        rows["vaults[].name", "unexpected_type"].items()
        >= {
            "type": "integer",
            "expected": "string",
        }.items()
    )
    assert rows["vaults[].billing.object_type", "unknown_word"]["word"] == "mainframe"
    assert (
        rows["vaults[].billing.size", "unexpected_type"].items()
        >= {
            "type": "object",
            "expected": "integer",
        }.items()
    )
    assert rows["Vault.created_at", "unreadable"]["expected"]
    assert all(each["count"] >= 1 for each in vaults["differences"])
    called = {each["operation"] for each in there["operations"]}
    assert READS.keys() - called == NEVER
    assert {READS[operation].rpc for operation in NEVER} == there["not_called"].keys()


async def test_what_cannot_be_taken_is_told_and_recorded_like_anything_else(cloud):
    async with changed(cloud.base_url, damaged) as endpoint:
        visits = await survey(config(endpoint), 60)
    (there,), files = report(visits)["clouds"], fixtures(visits)
    vaults = next(each for each in there["operations"] if each["operation"] == "ListVault")
    assert {(each["path"], each["kind"]) for each in vaults["differences"]} == {
        ("vaults[].brand_new", "unknown_key"),
        ("Vault.name", "unreadable"),
        ("Billing.size", "unreadable"),
    }
    assert "ud83d" not in json.dumps(files) + json.dumps(there)
    assert files["ListVault.json"]["body"]["vaults"]


async def test_an_answer_as_it_is_described_differs_in_nothing(cloud):
    (there,) = report(await survey(config(cloud.base_url), 60))["clouds"]
    assert {
        each["operation"]: each["differences"]
        for each in there["operations"]
        if each["differences"]
    } == {}


async def test_only_reads_are_made_and_not_what_the_cloud_does_not_have(cloud):
    before = cloud.state.truth.entries()[-1].seq
    (visit,) = await survey(config(cloud.base_url, "otc"), 60)
    made = {entry.operation for entry in cloud.state.truth.entries(before)} - {
        "KeystoneCreateUserTokenByPassword"
    }
    assert made <= READS.keys()
    assert "ListVault" in made
    assert not made & {"ListAgent", "ListFeatures", "ShowSummary"}
    assert "does not have" in report([visit])["clouds"][0]["not_called"]["AgentService/ListAgents"]


def named(value: Any) -> Any:
    """An answer whose free-form parts have keys that somebody in the account has chosen."""
    for row in value.get("instances", []) if isinstance(value, dict) else ():
        row["detail"] |= {
            "metadata": {"mueller_key": "x", "muellercamel": {"mueller": "y"}},
            "addresses": {"mueller_net": [{"addr": "10.9.8.7", "OS-EXT-IPS:type": "fixed"}]},
        }
        row["brand_new"] = {"muellerhost": [{"muellerport": 5}]}
    return value


async def test_keys_that_the_account_has_chosen_are_replaced_too(cloud):
    async with changed(cloud.base_url, named) as endpoint:
        files = fixtures(await survey(config(endpoint), 60))
    assert "mueller" not in json.dumps(files)
    row = files["ListProtectable.json"]["body"]["instances"][0]
    assert row.keys() >= {"brand_new", "detail", "children"}
    ((network, (address,)),) = row["detail"]["addresses"].items()
    assert address.keys() == {"addr", "OS-EXT-IPS:type"}
    assert network.startswith("text-")


async def test_nothing_of_the_account_is_in_what_is_written(cloud, tmp_path):
    async with changed(cloud.base_url, marked) as endpoint:
        visits = await survey(config(endpoint), 60)
    told, files = report(visits), fixtures(visits)
    write(files, tmp_path)
    written = "".join(file.read_text(encoding="utf-8") for file in tmp_path.iterdir())
    assert len({content["operation"] for content in files.values()}) > len(READS) * 2 / 3
    for text in (json.dumps(told), written):
        assert CANARY not in text
        assert "canary" not in text
    assert HIDDEN in json.dumps(told)


async def test_a_recorded_answer_is_whole_and_anonymous(cloud, tmp_path):
    visits = await survey(config(cloud.base_url), 60)
    files = fixtures(visits)
    private = {
        text
        for visit in visits
        for answer in visit.answers
        for key, text in texts(answer.value)
        if is_private(key, text)
    }
    private |= {
        value
        for visit in visits
        for answer in visit.answers
        for key, value in answer.variables.items()
        if key.endswith("_id")
    }
    written = json.dumps(files) + json.dumps(report(visits))
    assert len(private) > 30
    assert [text for text in private if text in written] == []
    assert not any(
        secret in written
        for secret in (emulated.IAM_PASSWORD, emulated.IAM_USER, cloud.base_url, "127.0.0.1")
    )
    for name, content in files.items():
        binding = READS[content["operation"]]
        assert re.fullmatch(rf"{binding.operation}(-\d+)?\.json", name)
        if content["status"] in SUCCESS:
            binding.response(content["body"], lambda row, problem: pytest.fail(f"{row} {problem}"))
    (vault,) = [row["id"] for row in files["ListVault.json"]["body"]["vaults"]][:1]
    assert any(
        content["request"]["path"].endswith(f"/vaults/{vault}") for content in files.values()
    )
    backups = files["ListBackups.json"]["body"]["backups"]
    vaults = {row["id"] for row in files["ListVault.json"]["body"]["vaults"]}
    assert {backup["vault_id"] for backup in backups} <= vaults


def texts(value: Any, key: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for name, item in value.items() for pair in texts(item, name)]
    if isinstance(value, list):
        return [pair for item in value for pair in texts(item, key)]
    return [(key, value)] if isinstance(value, str) else []


def is_private(key: str, text: str) -> bool:
    return len(text) > 5 and (
        key in {"id", "name", "description", "ip"} or key.endswith(("_id", "_name", "_ip"))
    )


async def test_the_commands_write_files(tmp_path):
    async def run(*arguments: str) -> tuple[int | None, str]:
        environ = os.environ | {"AK": emulated.ACCESS_KEY, "SK": emulated.SECRET_KEY}
        command = (sys.executable, "-m", "gateway", *arguments)
        process = await asyncio.create_subprocess_exec(
            *command, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, said.decode()

    async with running_emulator() as cloud:
        access = {"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}
        regions = {REGION: {"endpoint": cloud.base_url, "flavor": "otc"}}
        file, out = tmp_path / "gateway.yaml", tmp_path / "recorded"
        file.write_text(
            yaml.safe_dump(
                {
                    "upstream": {"regions": regions, "credentials": {"main": access}},
                    "tenants": [tenant_entry("payments")],
                }
            )
        )
        told = tmp_path / "report.json"
        code, said = await run("check", "--config", str(file), "--online", "--report", str(told))
        assert code == 0, said
        assert json.loads(told.read_text(encoding="utf-8"))["clouds"][0]["flavor"] == "otc"
        code, said = await run("record", "--config", str(file), "--out", str(out))
        assert (code, f" answers in {out}" in said) == (0, True), said
        assert (
            json.loads((out / "ListVault.json").read_text(encoding="utf-8"))["request"]["method"]
            == "GET"
        )
        again = await run("record", "--config", str(file), "--out", str(out))
        assert again == (
            1,
            (
                f"Error: {out}: the folder is not empty. Name a folder that is empty or not there"
                " yet\n"
            ),
        )
        offline = await run("check", "--config", str(file), "--report", str(told))
        assert (offline[0], "needs --online" in offline[1]) == (2, True)
