"""The guide's made-up change, added to a copy of the tree by what stands there and nothing else, is
carried out once, also if its answer is lost.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROTO = "cbrgateway/v1/policy.proto"


def block(path):
    """What the guide adds to a file."""
    found = re.search(rf"In `{re.escape(path)}`.*?```\w+\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None, path
    return found[1]


@pytest.fixture
def tree(tmp_path):
    """A copy of the code, with the operation."""
    for name in ("gateway", "emulator", "protos"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    python = tmp_path / "generated" / "python"
    shutil.copytree(
        ROOT / "generated" / "python", python, ignore=shutil.ignore_patterns("__pycache__")
    )
    rpc, messages = block(f"protos/{PROTO}").split("\n\n", 1)
    proto = tmp_path / "protos" / PROTO
    text = re.sub(
        r"(service PolicyService \{.*?\n)\}\n",
        lambda found: f"{found[1]}{rpc}\n}}\n",
        proto.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    proto.write_text(f"{text}\n{messages}", encoding="utf-8")
    for path in ("gateway/operations/policy.py", "emulator/routes/policies.py"):
        with (tmp_path / path).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{block(path)}")
    known = [
        "protoc",
        f"--descriptor_set_in={ROOT / 'generated' / 'cbrgateway.binpb'}",
        f"-I{tmp_path / 'protos'}",
    ]
    assert (
        protoc.main([*known, f"--python_out={python}", f"--grpc_python_out={python}", PROTO]) == 0
    )
    comments = [
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={python.parent / 'cbrgateway.binpb'}",
    ]
    assert (
        protoc.main(
            [
                *known,
                *comments,
                *(f"cbrgateway/v1/{file.name}" for file in proto.parent.glob("*.proto")),
            ]
        )
        == 0
    )
    return tmp_path


def test_an_operation_is_added_by_what_the_guide_says(tree):
    path = os.pathsep.join(map(str, (tree / "generated" / "python", tree, ROOT)))
    script = [sys.executable, "-m", "tests.contract.added_operation"]
    ended = subprocess.run(
        script,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert (ended.returncode, ended.stdout.splitlines()[-1:]) == (
        0,
        [f"carried out by {tree / 'gateway'}"],
    ), ended.stdout + ended.stderr
