"""Forward to this build and back to version 0.1.0, as docs/production.md says how.

What 0.1.0 left is opened here; then 0.1.0 itself is started on it, from this repository's history.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import grpc
import pytest
import yaml
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator import settings as emulated
from emulator.server import running_emulator
from gateway.audit.verify import verify
from testkit.ports import free_port
from tests.harness import REGION, World, tenant_entry
from tests.quota.oracle import created
from tests.quota.processes import SECRETS
from tests.upgrade.test_upgrade import (
    CLOUD,
    FACTS,
    KEYS,
    LEFT,
    answered,
    carried_out,
    new_vault,
    sections,
    settled,
    slow,
    upgraded,
)

ROOT = Path(__file__).parents[2]
RELEASE = "0864729842893d073eaac9bcefa9c2907b6048e7"
"""The commit that left what is in v0_1_0."""
WITHOUT_THIS_BUILD = """
import runpy, sys
root, file = sys.argv[1:]
sys.path[:] = [p for p in sys.path if "site-packages" in p or not p.startswith(root)]
sys.argv = ["cbr-gateway", "serve", "--config", file]
runpy.run_module("gateway", run_name="__main__")
"""
AGES_S = 1_000_000_000
"""0.1.0 answers repeats of what it did long ago."""


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The tree of 0.1.0."""
    made = subprocess.run(["git", "archive", RELEASE], cwd=ROOT, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this clone has no history: git fetch --unshallow")
    tree = tmp_path_factory.mktemp("v0.1.0")
    with tarfile.open(fileobj=BytesIO(made.stdout)) as packed:
        packed.extractall(tree, filter="data")
    return tree


@pytest.fixture(scope="module")
async def kept(tmp_path_factory):
    """What a gateway of this build has had in use; `copy` is the state from before."""
    folder = tmp_path_factory.mktemp("kept")
    async with upgraded(folder) as world:
        await settled(world)
        await answered(world, VaultServiceStub, "CreateVault", new_vault("after-the-upgrade"))
    shutil.copy(LEFT / "state.db", folder / "copy")
    return folder


@contextlib.asynccontextmanager
async def served(old, folder, endpoint):
    """0.1.0, on a port of its own; with the address."""
    address = f"127.0.0.1:{free_port()}"
    config = sections(folder) | {
        "server": {
            "listen": address,
            "health_listen": "127.0.0.1:0",
            "drain_delay_s": 0,
        },
        "upstream": {
            "regions": {REGION: {"endpoint": endpoint}},
            "credentials": {
                "main": {
                    "kind": "access_key",
                    "access_key": {"env": "AK"},
                    "secret_key": {"env": "SK"},
                }
            },
        },
        "tenants": [tenant_entry("payments")],
    }
    config["state"]["replay_ttl_s"] = AGES_S
    file = folder / "old.yaml"
    file.write_text(yaml.safe_dump(config))
    paths = [old, old / "generated" / "python", old / "clients" / "python"]
    environ = os.environ | SECRETS | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = (sys.executable, "-P", "-c", WITHOUT_THIS_BUILD, str(ROOT), str(file))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, env=environ, stderr=log, cwd=folder
        )
    try:
        yield address, process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_a_state_file_that_this_build_has_opened_is_refused_in_one_line(old, kept, tmp_path):
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "state.db").read_bytes()
    async with served(old, tmp_path, "http://127.0.0.1:9") as (_, process):
        assert await asyncio.wait_for(process.wait(), 60) == 1
    said = (tmp_path / "log").read_text()
    assert "it was written by a later version" in said.splitlines()[-1]
    assert (tmp_path / "state.db").read_bytes() == before


async def test_the_copy_from_before_and_the_audit_log_since_serve_the_old_build(
    old, kept, tmp_path
):
    shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "copy", tmp_path / "state.db")
    settings = emulated.EmulatorSettings(seed=CLOUD["seed"], auth=False)
    async with running_emulator(settings=settings) as cloud:
        slow(cloud)
        await carried_out(cloud)
        async with served(old, tmp_path, cloud.base_url) as (address, process):
            async with grpc.aio.insecure_channel(address) as channel:
                await asyncio.wait_for(channel.channel_ready(), 60)
                world = World(None, cloud, channel)
                before = created(world)
                request = vault_pb2.GetVaultRequest(vault_id=FACTS["made"])
                known = await answered(world, VaultServiceStub, "GetVault", request)
                assert known.vault.id == FACTS["made"]
                again = await answered(world, VaultServiceStub, "CreateVault", new_vault("made"))
                assert again.vault.id == FACTS["made"]
                assert created(world) == before
            process.terminate()
            assert await asyncio.wait_for(process.wait(), 60) == 0
    assert [verdict.bad for verdict in verify(tmp_path / "audit", KEYS)] == [None]
