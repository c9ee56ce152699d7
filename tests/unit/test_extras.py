"""Without a library that only some need, a sentence says what to install, and no trace is shown."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gateway.extras import EXTRAS, not_installed

ROOT = Path(__file__).parents[2]
HIDING = """
import sys
from importlib.machinery import PathFinder

hidden, program, *sys.argv = sys.argv[1:]
sys.argv.insert(0, program)


class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        known = any(name == each or name.startswith(f"{each}.") for each in hidden.split(","))
        return None if known else PathFinder.find_spec(name, path, target)


sys.meta_path = [Without if each is PathFinder else each for each in sys.meta_path]
if program == "cbrctl":
    from cbrctl.__main__ import run
else:
    from gateway.__main__ import run
run()
"""
"""Runs a program as it is where these modules are not installed."""
CHECKED = {
    "console": ("jinja2", "admin: {console: true}"),
    "http": ("connectrpc,uvicorn", "http: {listen: '127.0.0.1:0'}"),
    "shared": ("redis", "state: {kind: valkey, url: {env: URL}}"),
    "otlp": ("opentelemetry.proto", "audit: {otlp: {endpoint: 'https://a.example:4317'}}"),
    "otel": ("opentelemetry.sdk", "tracing: {endpoint: 'https://a.example:4318'}"),
    "fast": ("httptools", "upstream: {transport: {transport: httptools}}"),
}
FREE = (
    *("--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0", "--emulator-listen"),
    *("127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0"),
)


def without(modules, *command, **environ):
    return subprocess.run(
        [sys.executable, "-c", HIDING, modules, *command],
        check=False,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_they_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert EXTRAS.keys() == project["optional-dependencies"].keys() == CHECKED.keys()


@pytest.mark.parametrize("extra", CHECKED)
def test_a_configuration_that_needs_one_names_it(tmp_path, extra):
    modules, part = CHECKED[extra]
    (tmp_path / "c.yaml").write_text(part)
    done = without(
        modules, "cbr-gateway", "check", "--config", str(tmp_path / "c.yaml"), URL="redis://a:1"
    )
    assert done.returncode == 1
    assert f"pip install 'cbr-gateway[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("modules", "command", "said"),
    [
        ("jinja2", ("dev", *FREE), "pip install 'cbr-gateway[console]'"),
        ("connectrpc", ("dev", *FREE), "pip install 'cbr-gateway[http]'"),
        ("starlette", ("dev", *FREE), "`dev` needs starlette, which is not installed"),
        ("rich", ("demo",), "`demo` needs rich, which is not installed"),
        ("grpc", ("healthcheck",), "`healthcheck` needs grpc, which is not installed"),
    ],
)
def test_a_command_says_what_it_needs(modules, command, said):
    done = without(modules, "cbr-gateway", *command)
    assert (done.returncode, done.stderr.count("\n")) in {(1, 1), (1, 2)}, done.stderr
    assert said in done.stderr


def test_what_callers_have_does_so_too():
    done = without("jmespath", "cbrctl", "vaults", "list", "--query", "x")
    assert done.stderr == "Error: jmespath is not installed: pip install cbrctl\n"
    assert done.returncode == 3
    assert without("rich", "cbrctl", "tasks", "watch", "--help").returncode == 0


def test_a_module_of_ours_that_is_missing_is_a_fault():
    assert not not_installed(ModuleNotFoundError(name="gateway.nothing"))
