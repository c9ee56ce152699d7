"""The SDKs in Go and Java run the stories of the Python one, and Open Telekom Cloud's client a
story of its own.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.paging import Paging
from emulator.server import running_emulator
from emulator.settings import ACCESS_KEY, IAM_DOMAIN, IAM_PASSWORD, IAM_USER, SECRET_KEY
from emulator.transitions import Mode, Pace
from sdks.calls import OtherSdk, Program
from tests.emulator.test_sdk import Sdk, every_story

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache" / "sdks"
INSTALL_S = 600

GO_CANNOT = {"update_expiration_time", "show_vault_project_tag"}
JAVA_CANNOT = {
    *GO_CANNOT,
    "change_vault_charge_mode",
    "list_features",
    "show_feature",  # missing
    "change_order",  # its retCode is text there
}
"""Operations that these versions lack, or whose answers they cannot read although they are as
documented.
"""
GO_DROPS = frozenset({"ret_code"})
JAVA_DROPS = frozenset({"auto_protect", "effective_scope"})
"""Members of answers that these versions do not know."""


def needed(*programs: str) -> None:
    """Skip without these programs, and fail where nothing may be skipped."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{' and '.join(missing)} must be installed")
    if missing:
        pytest.skip(f"NOT TESTED: {' and '.join(missing)} is not installed")


def done(*command: str | Path, **environ: str) -> None:
    """Run a program to its end; what it says is in the failure."""
    ran = subprocess.run(
        command,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def go() -> list[str]:
    """Build the program in Go; return how to start it."""
    needed("go")
    done("go", "-C", HERE / "go", "build", "-buildvcs=false", "-o", CACHE / "go", ".")
    return [str(CACHE / "go")]


def java() -> list[str]:
    """Fetch what the program in Java needs; return how to start it."""
    needed("java", "mvn")
    classpath = CACHE / "java-classpath"
    done(
        "mvn",
        "-q",
        "-B",
        "-f",
        HERE / "java" / "pom.xml",
        "dependency:build-classpath",
        f"-Dmdep.outputFile={classpath}",
    )
    return ["java", "-cp", classpath.read_text(), str(HERE / "java" / "Calls.java")]


@pytest.mark.timeout(INSTALL_S)
@pytest.mark.parametrize(
    ("prepare", "cannot", "drops"), [(go, GO_CANNOT, GO_DROPS), (java, JAVA_CANNOT, JAVA_DROPS)]
)
async def test_the_sdk_of_another_language_runs_every_story(prepare, cannot, drops):
    CACHE.mkdir(parents=True, exist_ok=True)
    command = await asyncio.to_thread(prepare)
    called, problems = set(), {}
    async with running_emulator(pace=Pace(Mode.IMMEDIATE)) as running:
        program = Program(
            command, os.environ | {"AK": ACCESS_KEY, "SK": SECRET_KEY, "ENDPOINT": running.base_url}
        )
        try:
            await asyncio.to_thread(
                every_story,
                lambda project: OtherSdk(
                    program, project, Sdk(running.base_url, project, called), problems, drops
                ),
            )
        finally:
            await asyncio.to_thread(program.close)
        agents = {
            entry.headers.get("user-agent", "").partition("/")[0]
            for entry in running.state.truth.entries()
        }
    assert set(problems) == cannot, problems
    assert called == cannot
    assert len(agents) == 2


@pytest.mark.timeout(INSTALL_S)
async def test_the_client_of_open_telekom_cloud_works():
    python = CACHE / "otc" / "bin" / "python"
    await asyncio.to_thread(done, sys.executable, "-m", "venv", CACHE / "otc")
    install = (
        python,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--require-hashes",
        "-r",
        HERE / "otc" / "requirements.lock",
    )
    await asyncio.to_thread(done, *install)
    async with running_emulator(
        pace=Pace(Mode.IMMEDIATE), paging=Paging(marker="everywhere")
    ) as running:
        server = next(
            each.id
            for each in running.state.world.protectables.values()
            if each.name == "server-01"
        )
        environ = {
            "ENDPOINT": running.base_url,
            "USER_NAME": IAM_USER,
            "PASSWORD": IAM_PASSWORD,
            "DOMAIN": IAM_DOMAIN,
            "SERVER": server,
        }
        await asyncio.to_thread(done, python, HERE / "otc" / "story.py", **environ)
        called = {entry.operation for entry in running.state.truth.entries()}
    assert called >= {
        "ListVault",
        "CreateVault",
        "CreateCheckpoint",
        "CreatePolicy",
        "AssociateVaultPolicy",
        "ListBackups",
        "ListOpLogs",
    }
