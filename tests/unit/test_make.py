"""Two makes in one tree, which has no `.venv` yet. Python and pip are stubs that take note."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_STUB = """#!/bin/sh
case "$*" in
*scripts/alone.py*) exec {python} "$@" ;;
*"-m venv"*)
    mkdir -p .venv/bin
    cp "$0" .venv/bin/python
    ln -s /bin/true .venv/bin/cbr-gateway ;;
*"-m pip"*)
    echo begins >>pips
    while [ ! -e go ]; do sleep 0.02; done
    echo ends >>pips ;;
esac
"""


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "scripts").mkdir()
    names = ["Makefile", "scripts/alone.py", "pyproject.toml", "clients/python/pyproject.toml"]
    names += ["cbrctl/pyproject.toml", "devstack/pyproject.toml"]
    for path in [*(ROOT / name for name in names), *ROOT.glob("*.lock")]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    stub = tmp_path / "python"
    stub.write_text(_STUB.format(python=sys.executable))
    stub.chmod(0o755)
    return tmp_path


def test_two_makes_at_once_set_up_one_after_the_other(tree):
    pips = tree / "pips"

    def begun():
        return pips.exists() and "begins" in pips.read_text()

    makes = [make(tree, "run")]
    wait_for(begun)
    makes.append(make(tree, "tools"))
    # Of the second one nothing is known but that it waits, or does not.
    said = (tree / "tools.log").read_text
    wait_for(lambda: "Waiting" in said() or pips.read_text().count("begins") > 1)
    (tree / "go").touch()
    assert [each.wait(60) for each in makes] == [0, 0], said()
    # Two for what is run, and one for what is developed with: nothing twice.
    assert pips.read_text().split() == ["begins", "ends"] * 3


def make(tree, target):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    with (tree / f"{target}.log").open("w") as log:
        return subprocess.Popen(
            ["make", f"PYTHON={tree / 'python'}", target],
            cwd=tree,
            env=environ,
            stdout=log,
            stderr=log,
        )


def wait_for(true):
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
