"""The guide's made-up operations, added to a copy of the tree by what stands there and nothing
else: every test that looks at all operations passes, and the change is carried out once, also if
its answer is lost.
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
READ = [
    f"protos/{PROTO}",
    "tests/census/policy.toml",
    "tests/examples/PolicyService.GetPolicyState.json",
    "emulator/routes/policies.py",
    "CHANGELOG.md",
]
CHANGE = [
    *READ[:2],
    "tests/examples/PolicyService.PausePolicy.json",
    *READ[3:],
    "gateway/operations/policy.py",
]
ALL_OPERATIONS = (
    "tests/contract/test_census.py",
    "tests/contract/test_evidence.py",
    "tests/contract/test_examples.py",
    "tests/contract/test_operations.py",
    "tests/contract/test_request_rules.py",
    "tests/unit/upstream/test_flavors.py",
    "tests/unit/test_docs.py::test_the_readme_lists_every_rpc_once",
    "tests/functional/test_recorded.py",
    "-k",
    "not test_recorded or every_operation or Policy",
)
"""What fails where something of an operation is missing."""


FOLDERS = (
    *("gateway", "emulator", "devstack", "protos", "generated", "clients/python"),
    *("scripts", "testkit", "tests"),
)
FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml")


def steps(heading):
    """(file, what the guide adds to it), in its order."""
    section = re.search(rf"^### {heading}\n(.*?)(?=^##|\Z)", GUIDE, re.DOTALL | re.MULTILINE)
    assert section is not None
    return re.findall(
        r"^\d\. In `([^`]+)`.*?^```\w+\n(.*?)^```$", section[1], re.DOTALL | re.MULTILINE
    )


def test_a_read_takes_five_files_and_a_change_six():
    assert [path for path, _ in steps("A read")] == READ
    assert [path for path, _ in steps("A change")] == CHANGE


def add(tree, path, text):
    """As a reader would."""
    file = tree / path
    if path.endswith(".json"):
        file.write_text(text, encoding="utf-8")
    elif path.endswith(".proto"):
        rpc, messages = text.split("\n\n", 1)
        before = file.read_text(encoding="utf-8")
        after = re.sub(
            r"(service PolicyService \{.*?\n)\}\n", rf"\1{rpc}\n}}\n", before, flags=re.DOTALL
        )
        file.write_text(f"{after}\n{messages}", encoding="utf-8")
    elif path == "CHANGELOG.md":
        before = file.read_text(encoding="utf-8")
        file.write_text(
            before.replace("### Added\n\n", f"### Added\n\n{text}", 1), encoding="utf-8"
        )
    else:
        with file.open("a", encoding="utf-8") as open_file:
            open_file.write(f"\n\n{text}" if path.endswith(".py") else text)


def generate(tree):
    """What `make generate` makes of the protos, as far as a gateway and its tests need it."""
    python = tree / "generated" / "python"
    known = [
        "protoc",
        f"--descriptor_set_in={ROOT / 'generated' / 'cbrgateway.binpb'}",
        f"-I{tree / 'protos'}",
    ]
    stubs = [*known, f"--python_out={python}", f"--grpc_python_out={python}", PROTO]
    assert protoc.main(stubs) == 0
    comments = [
        *known,
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={python.parent / 'cbrgateway.binpb'}",
        *(f"cbrgateway/v1/{file.name}" for file in (tree / "protos/cbrgateway/v1").glob("*.proto")),
    ]
    assert protoc.main(comments) == 0
    assert ended(tree, "-m", "scripts.api_table").returncode == 0


def ended(tree, *arguments):
    """A Python of the tree."""
    path = os.pathsep.join(map(str, (tree / "generated/python", tree / "clients/python", tree)))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the code, with both operations."""
    tree = tmp_path_factory.mktemp("tree")
    names = (
        "gateway",
        "emulator",
        "devstack",
        "protos",
        "generated",
        "clients",
        "scripts",
        "testkit",
        "tests",
    )
    for name in names:
        useless = shutil.ignore_patterns("__pycache__", "node_modules", "build", "target")
        shutil.copytree(ROOT / name, tree / name, ignore=useless)
    for name in (
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "pyproject.toml",
    ):
        shutil.copy(ROOT / name, tree / name)
    shutil.copytree(ROOT / "docs", tree / "docs")
    for path, text in (*steps("A read"), *steps("A change")):
        add(tree, path, text)
    generate(tree)
    return tree


def test_an_operation_is_added_by_what_the_guide_says(tree):
    run = ended(tree, "-m", "tests.contract.added_operation")
    assert (run.returncode, run.stdout.splitlines()[-1:]) == (
        0,
        [f"carried out by {tree / 'gateway'}"],
    ), run.stdout + run.stderr


def test_nothing_else_is_missing(tree):
    run = ended(tree, "-m", "pytest", "-q", "-n0", *ALL_OPERATIONS)
    assert run.returncode == 0, run.stdout + run.stderr
