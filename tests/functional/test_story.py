"""The demonstration, with its own real processes: what it shows to people is what it proves
here.
"""

import re
import subprocess
import sys

from cbrgateway.v1 import protectability_pb2, types_pb2, vault_pb2
from cbrgateway_client import Gateway

from devstack.caller import Caller
from devstack.launch import launched
from devstack.tenants import PAYMENTS


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", "demo", *options],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_story_ends_well_and_leaves_nothing_behind() -> None:
    with launched("--task-seconds", "0.2") as dev:
        first = demo("--address", dev.address)
        assert (first.returncode, first.stderr) == (0, "")
        assert "Done: every step did what it should" in first.stdout
        steps = re.findall(r"^(\d+)\. ", first.stdout, re.MULTILINE)
        assert steps == [str(number) for number in range(1, len(steps) + 1)]
        for reason in ("RESOURCE_IN_OTHER_VAULT", "FIELD_INVALID", "PROJECT_DENIED"):
            assert f"reason   {reason}\n" in first.stdout
        assert 'field: "vault.billing.size_gib"' in first.stdout
        deleted = re.findall(r"^   delete the (.+): succeeded", first.stdout, re.MULTILINE)
        assert deleted == ["backup", "vault demo", "vault demo-shared", "vault demo-second"]
        # Only what was left behind could make a second telling differ.
        second = demo("--address", dev.address)
        assert (second.returncode, second.stderr) == (0, "")
        assert "in vault" not in second.stdout.partition("\n2. ")[0]


def test_the_story_chooses_a_server_that_no_vault_holds() -> None:
    with (
        launched("--task-seconds", "0.2") as dev,
        Gateway(dev.address, PAYMENTS.api_key, plaintext=True).channel() as channel,
    ):
        caller = Caller(channel)
        wanted = protectability_pb2.ListProtectablesRequest(
            protectable_type=protectability_pb2.PROTECTABLE_TYPE_SERVER
        )
        server = caller.protectables.ListProtectables(wanted).instances[0]
        billing = vault_pb2.BillingSpec(
            consistent_level=types_pb2.CONSISTENT_LEVEL_CRASH_CONSISTENT,
            object_type=types_pb2.OBJECT_TYPE_SERVER,
            protect_type=types_pb2.PROTECT_TYPE_BACKUP,
            size_gib=500,
        )
        spec = vault_pb2.VaultSpec(
            name="taken",
            billing=billing,
            resources=[types_pb2.ResourceRef(id=server.id, type=server.type)],
        )
        caller.vaults.CreateVault(vault_pb2.CreateVaultRequest(vault=spec))
        told = demo("--address", dev.address)
        assert (told.returncode, told.stderr) == (0, "")
        assert "in vault taken" in told.stdout


def test_the_story_starts_a_gateway_of_its_own() -> None:
    told = demo("--task-seconds", "0.1")
    assert (told.returncode, told.stderr) == (0, "")
    assert "Done: every step did what it should" in told.stdout


def test_a_surprise_ends_the_story_with_an_error() -> None:
    nobody = demo("--address", "127.0.0.1:1")
    assert nobody.returncode == 1
    assert nobody.stderr.startswith("Error: UNAVAILABLE: ")
