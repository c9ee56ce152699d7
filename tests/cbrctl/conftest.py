"""One gateway before an emulated CBR for all tests of `cbrctl`, as `make run` starts it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cbrctl.main import main
from devstack.launch import launched
from devstack.tenants import PAYMENTS

PROGRAM = str(Path(sys.executable).with_name("cbrctl"))
BILLING = (
    *("--object-type", "server", "--protect-type", "backup"),
    *("--consistent-level", "crash-consistent", "--size-gib", "200"),
)


@pytest.fixture(scope="session")
def dev():
    with launched("--task-seconds", "0.4") as running:
        yield running


@pytest.fixture
def environ(dev, tmp_path, monkeypatch):
    """That of a shell in which a context was made for the gateway."""
    ours = {
        "CBRCTL_CONFIG": str(tmp_path / "config.toml"),
        "CBR_ADDRESS": dev.address,
        "CBR_PLAINTEXT": "1",
        "CBR_API_KEY": PAYMENTS.api_key,
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return os.environ | ours


@pytest.fixture
def ctl(environ):
    """Runs a command in this process."""

    def run(*arguments, **more):
        return CliRunner().invoke(main, arguments, prog_name="cbrctl", **more)

    return run


@pytest.fixture
def ok(ctl):
    """What a command prints that succeeds."""

    def run(*arguments, **more):
        ended = ctl(*arguments, **more)
        assert ended.exit_code == 0, ended.output
        return ended.stdout

    return run


@pytest.fixture
def process(environ):
    """Runs a command as a process of its own."""

    def run(*arguments, **more):
        settings = {"capture_output": True, "text": True, "timeout": 100, "env": environ} | more
        return subprocess.run([PROGRAM, *arguments], check=False, **settings)

    return run
