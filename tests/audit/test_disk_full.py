"""A gateway whose disk takes nothing more: changes are refused at once and none reaches CBR; with
room again all is well, without a restart.
"""

import asyncio
import contextlib
import os
import resource
import subprocess

import pytest
from cbrgateway.v1 import vault_pb2
from cbrgateway.v1.vault_pb2_grpc import VaultServiceStub

from emulator.server import running_emulator
from emulator.transitions import Mode, Pace
from tests.audit.scenes import assert_good, audit_section, records
from tests.functional.calls import arrived
from tests.quota.processes import Process
from tests.quota.scenes import new_vault, outcome

TIMEOUT_S = 1.0


@contextlib.contextmanager
def no_file_grows(process, _folder):
    """Writes of the process to files end with EFBIG, after one byte."""
    pid = process._process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def no_room(_process, folder):
    """The file system is full."""
    filler = folder / "log" / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            os.write(file.fileno(), bytes(512))
    yield
    filler.unlink()


@contextlib.contextmanager
def tmpfs(folder):
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("a tmpfs can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("full", [no_file_grows, no_room])
async def test_a_full_disk_stops_changes_and_nothing_else(full, tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        if full is no_room:
            stack.enter_context(tmpfs(tmp_path / "log"))
        cloud = await stack.enter_async_context(running_emulator(pace=Pace(Mode.IMMEDIATE)))
        process = Process(tmp_path, cloud, audit=audit_section(tmp_path, timeout_s=TIMEOUT_S))
        world = await stack.enter_async_context(process.running())
        stub = world.stub(VaultServiceStub)
        assert (await outcome(world, stub.CreateVault, new_vault(1))).reason == "OK"
        with full(process, tmp_path):
            for number in range(2, 8):
                # The gateway's own bound ends it, long before the caller's.
                async with asyncio.timeout(60):
                    ended = await outcome(world, stub.CreateVault, new_vault(number), within_s=300)
                assert ended.reason == "AUDIT_DOWN"
            assert (
                await outcome(world, stub.ListVaults, vault_pb2.ListVaultsRequest())
            ).reason == "OK"
            assert len(arrived(world, "VaultService/CreateVault")) == 1
        async with asyncio.timeout(60):
            while (await outcome(world, stub.CreateVault, new_vault(9))).reason == "AUDIT_DOWN":  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.1)
        assert len(arrived(world, "VaultService/CreateVault")) == 2
        await process.end()
        assert_good(tmp_path, after_failed_writes=True)
        found = [row["unmapped"]["event"] for row in records(tmp_path, own=True)]
        assert "LOG_RECOVERED" in found
        refused = [
            row
            for row in records(tmp_path)
            if row["api"].get("response", {}).get("error") == "AUDIT_DOWN"
        ]
        assert len(refused) >= 6
