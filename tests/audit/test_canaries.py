"""Sixty secrets are planted wherever one can be, and none comes out: in records, logs, errors, the
shown configuration or the command line.
"""

import asyncio
import base64
import os
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

import grpc
from cbrgateway.v1 import policy_pb2, vault_pb2
from cbrgateway.v1.policy_pb2_grpc import PolicyServiceStub
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator import settings as emulated
from emulator.server import running_emulator
from gateway.config import read_layers, shown, validated
from testkit.ports import free_port
from tests.audit.scenes import SECRET, audit_section
from tests.harness import World
from tests.quota.processes import ROOT, SECRETS, Process
from tests.quota.scenes import new_vault

PAGE_KEY = secrets.token_hex(20)
COLLECTOR = secrets.token_hex(20)
GUESSES = [f"cbrgw_{secrets.token_urlsafe(24)}" for _ in range(13)]
TOKENS = [
    ".".join(
        base64.urlsafe_b64encode(secrets.token_bytes(24)).decode().rstrip("=") for _ in range(3)
    )
    for _ in range(8)
]
TEXTS = [secrets.token_hex(12) for _ in range(30)]
PLANTED = [
    *(
        emulated.ACCESS_KEY,
        emulated.SECRET_KEY,
        emulated.SECOND_ACCESS_KEY,
        emulated.SECOND_SECRET_KEY,
    ),
    *(SECRET, PAGE_KEY, COLLECTOR, "key-of-payments", "key-of-admin"),
    *GUESSES,
    *TOKENS,
    *TEXTS,
]


def forms(secret):
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    # The middle of its base64, whatever stands before it.
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + raw)[4:-4]


async def calls(world):
    """What callers do with secrets: good calls, refused ones, broken ones.

    The errors that they are told; answers show what CBR holds.
    """
    vaults, policies = world.stub(VaultServiceStub), world.stub(PolicyServiceStub)
    told = []

    async def call(method, request, *metadata):
        try:
            await method(request, metadata=metadata or world.metadata(), timeout=10)
        except grpc.aio.AioRpcError as error:
            told.append(f"{error.details()} {error.trailing_metadata()}")

    for text in TEXTS[:15]:
        tags = [{"key": "team", "value": text}]
        await call(vaults.CreateVault, new_vault(0, description=text, tags=tags))
    for text in TEXTS[15:20]:
        await call(vaults.ListVaults, vault_pb2.ListVaultsRequest(page_token=text))
    for text in TEXTS[20:25]:
        await call(vaults.CreateVault, new_vault(0, description="x" * 3000 + text))
    for text in TEXTS[20:25]:
        await call(
            vaults.ListVaults,
            vault_pb2.ListVaultsRequest(),
            *world.metadata("payments", ("x-cbr-project-id", text)),
        )
    for text in TEXTS[25:]:
        await call(
            policies.GetPolicy,
            policy_pb2.GetPolicyRequest(policy_id="p"),
            ("authorization", f"Bearer {text}"),
            ("authorization", text),
        )
    for guess in (*GUESSES, *TOKENS):
        await call(
            vaults.ListVaults, vault_pb2.ListVaultsRequest(), ("authorization", f"Bearer {guess}")
        )
    return told


async def test_no_planted_secret_comes_out_anywhere(tmp_path):
    assert len(PLANTED) == 60
    (tmp_path / "page.key").write_text(PAGE_KEY)
    policy = [{"level": "request_response"}]
    (tmp_path / "collector.key").write_text(COLLECTOR)
    # Nobody listens there, and the log says so.
    collector = {
        "endpoint": f"http://127.0.0.1:{free_port()}",
        "headers": {"authorization": {"file": str(tmp_path / "collector.key")}},
    }
    sections = {
        "audit": audit_section(tmp_path, policy=policy, otlp=collector),
        "page_token_key": {"file": str(tmp_path / "page.key")},
    }
    path = os.pathsep.join((str(ROOT / "generated" / "python"), str(ROOT)))
    environ = os.environ | {"PYTHONPATH": path} | SECRETS
    async with running_emulator() as cloud:
        process = Process(tmp_path, cloud, **sections)
        command = (sys.executable, "-m", "gateway")
        options = ("--config", str(process._file), "--log-level", "debug")
        with (tmp_path / "stderr").open("wb") as stderr:
            gateway = await asyncio.create_subprocess_exec(
                *command, "serve", *options, env=environ, cwd=ROOT, stderr=stderr, stdout=stderr
            )
        try:
            async with process.world() as world:
                errors = await calls(World(None, cloud, world.channel))
                line = Path("/proc", str(gateway.pid), "cmdline").read_bytes()  # noqa: ASYNC240 - no disk behind it
        finally:
            gateway.terminate()
            await gateway.wait()
    layers = read_layers(process._file, environ, {})
    configuration = shown(validated(layers, environ), layers)
    log = b"".join(file.read_bytes() for file in (tmp_path / "log").iterdir())
    assert log.count(b"CHANGE_INTENDED") >= 15
    assert len(errors) > 30
    assert b"cannot be sent to the collector" in (tmp_path / "stderr").read_bytes()
    outputs = {
        "records": log,
        "anchors": (tmp_path / "anchors").read_bytes(),
        "logs": (tmp_path / "stderr").read_bytes(),
        "errors": "\n".join(errors).encode(),
        "configuration": configuration.encode(),
        "command line": line,
    }
    found = [
        (name, secret)
        for name, output in outputs.items()
        for secret in PLANTED
        for form in forms(secret)
        if form in output
    ]
    assert found == []
    assert b"hmac:" in log
