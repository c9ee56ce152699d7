"""A fresh clone is enough to generate clients: `buf.gen.yaml` needs nothing of ours, and leaves out what only the gateway reads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cbrgateway.v1 import options_pb2

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
TEMPLATE = yaml.safe_load((ROOT / "buf.gen.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """What the template makes in a clone without `.cache`, with a plugin of ours in the place of Go's."""
    clone = tmp_path_factory.mktemp("clone")
    shutil.copy(ROOT / "buf.yaml", clone)
    shutil.copytree(ROOT / "protos", clone / "protos")
    (clone / "generated").mkdir()
    shutil.copy(ROOT / "generated" / "cbrgateway.binpb", clone / "generated")
    template = TEMPLATE | {"plugins": [{"local": [str(BIN / "protoc-gen-mypy")], "out": "gen"}]}
    (clone / "buf.gen.yaml").write_text(yaml.safe_dump(template), encoding="utf-8")
    environ = os.environ | {"HOME": str(clone), "BUF_CACHE_DIR": str(clone / "cache")}
    done = subprocess.run([BIN / "buf", "generate"], cwd=clone, env=environ, capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return clone / "gen"


def test_it_generates_our_own_package_and_nothing_else(generated):
    ours = {path.stem for path in (ROOT / "protos" / "cbrgateway" / "v1").glob("*.proto")} - {"options"}
    assert {str(path.relative_to(generated)) for path in generated.rglob("*.pyi")} == {f"cbrgateway/v1/{name}_pb2.pyi" for name in ours}


def test_the_code_imports_no_options_of_the_gateway(generated):
    texts = [path.read_text(encoding="utf-8") for path in generated.rglob("*.pyi")]
    assert not [text for text in texts if "validate_pb2" in text or "options_pb2" in text]


def test_the_template_leaves_out_every_option():
    (source,) = TEMPLATE["inputs"]
    assert set(source["exclude_types"]) == {"buf.validate", *(found.full_name for found in options_pb2.DESCRIPTOR.extensions_by_name.values())}
