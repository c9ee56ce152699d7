"""`cbr-gateway check --online`: what works and what does not, by credential and project, told by
reads alone.
"""

import asyncio
import os
import sys
from urllib.parse import urlsplit

import yaml

from emulator import settings as emulated
from emulator.server import running_emulator
from testkit.ports import free_port
from tests.harness import REGION, TENANTS, tenant_entry

PAYMENTS, DATABASES = TENANTS["payments"][0], TENANTS["databases"][0]


async def check(folder, endpoint, *arguments, iam=None, sections=None, **secrets):
    """Its exit code and all that it says.

    Both tenants are in one region; `second` is an IAM user.
    """
    access_key = {"kind": "access_key", "access_key": {"env": "AK"}, "secret_key": {"env": "SK"}}
    user = {
        "kind": "password",
        "user": "nobody",
        "domain": "nowhere",
        "password": {"env": "PASSWORD"},
    }
    tenants = [tenant_entry("payments"), tenant_entry("databases")]
    if iam:
        tenants[1]["projects"][0]["credential"] = "second"
    config = {
        "upstream": {
            "regions": {
                REGION: {"endpoint": endpoint, **({"iam_endpoint": endpoint} if iam else {})}
            },
            "credentials": {"main": access_key, **({"second": user} if iam else {})},
        },
        "tenants": tenants,
        **(sections or {}),
    }
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump(config))
    environ = os.environ | {
        "AK": emulated.ACCESS_KEY,
        "SK": emulated.SECRET_KEY,
        "PASSWORD": "canary-password",
        **secrets,
    }
    command = (
        sys.executable,
        "-m",
        "gateway",
        "check",
        "--config",
        str(file),
        "--online",
        *arguments,
    )
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, said.decode()


async def test_all_is_well(tmp_path):
    async with running_emulator() as cloud:
        code, said = await check(tmp_path, cloud.base_url)
        assert (code, said.splitlines()[1]) == (
            0,
            (
                "OK: every credential is accepted, and vaults, policies and tasks can be listed in"
                " 2 projects"
            ),
        )
        assert {entry.method for entry in cloud.state.truth.entries()} == {"GET"}


async def test_each_problem_names_its_credential_and_project_and_what_to_do(tmp_path):
    async with running_emulator() as cloud:
        for operation, status in (("ListPolicies", 403), ("ListOpLogs", 404)):
            cloud.state.faults.add(
                {
                    "kind": "status",
                    "status": status,
                    "match": {"operation": operation, "project_id": PAYMENTS},
                    "times": None,
                },
            )
        code, said = await check(tmp_path, cloud.base_url, iam=True)
        assert code == 1
        one, policies, tasks, user = [
            line for line in said.splitlines() if not line.startswith("OK")
        ]
        assert one == "Error: 3 problems with CBR:"
        where = (
            f"  credential main, region {REGION}, project {PAYMENTS} of tenant payments: cannot"
            " list "
        )
        assert policies.startswith(f"{where}policies.")
        assert "granted" in policies
        assert tasks.startswith(f"{where}tasks.")
        assert "id and its region" in tasks
        assert user.startswith(
            f"  credential second, region {REGION}, project {DATABASES} of tenant databases: cannot"
            " list vaults."
        )
        assert "canary" not in said


async def test_a_wrong_secret_and_a_cloud_that_is_silent_end_in_time(tmp_path):
    async with running_emulator() as cloud:
        code, said = await check(tmp_path, cloud.base_url, SK="canary-of-another-account")
        assert (code, said.count("credentials and clock"), "canary" in said) == (1, 2, False)
        cloud.state.faults.add(
            {"kind": "delay", "seconds": 4, "match": {"project_id": DATABASES}, "times": None}
        )
        code, said = await check(tmp_path, cloud.base_url, "--timeout", "1")
        assert (code, said.count("No answer within 1 s"), PAYMENTS in said) == (1, 1, False)


async def test_other_servers_that_cannot_be_reached_are_told_by_their_settings(tmp_path):
    (tmp_path / "key").write_text("a-key-for-tests-with-enough-characters")
    nowhere = f"127.0.0.1:{free_port()}"
    sink = {"url": f"https://{nowhere}/canary", "keys": [{"env": "SINK_KEY"}]}
    issuer = {"issuer": "https://issuer", "audience": "cbr"}
    sections = {
        "audit": {
            "directory": str(tmp_path / "log"),
            "key": {"file": str(tmp_path / "key")},
            "otlp": {"endpoint": f"http://{nowhere}"},
        },
        "events": {"allowed_networks": ["127.0.0.0/8"], "sinks": [{"name": "ops", **sink}]},
        "state": {"kind": "valkey", "url": {"env": "VALKEY"}},
    }
    async with running_emulator() as cloud:
        plain = urlsplit(cloud.base_url).netloc
        sections["tracing"] = {"endpoint": f"https://{plain}"}
        jwks = {"jwks": {"url": "https://canary.invalid/keys"}}
        sections["issuers"] = {"corporate": issuer | jwks}
        secrets = {"VALKEY": f"valkey://:canary@{nowhere}", "SINK_KEY": f"whsec_{'a' * 43}="}
        code, said = await check(tmp_path, cloud.base_url, sections=sections, **secrets)
    assert code == 1, said
    for problem in (
        (
            "the shared store cannot be reached: it refuses connections; check host and port of"
            " state.url"
        ),
        (
            "audit.otlp.endpoint cannot be reached: it refuses connections; check host and port of"
            " audit.otlp.endpoint"
        ),
        (
            "tracing.endpoint cannot be reached: it does not speak TLS on this port;"
            " tracing.endpoint says https:// but"
        ),
        "events.sinks.ops.url cannot be reached: it refuses connections;",
        "issuers.corporate.jwks.url cannot be reached: its name cannot be resolved;",
    ):
        assert problem in said, said
    assert "canary" not in said
