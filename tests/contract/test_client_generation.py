"""What `make clients` puts into dist for languages without a client here is enough to generate one,
and leaves out what only the gateway reads.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from google.protobuf.descriptor_pool import DescriptorPool

from clients.frame import descriptors
from clients.frame.languages import CLIENTS

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """What the template makes in a folder with nothing but the descriptor set, with a plugin of
    ours in the place of all others.
    """
    folder = tmp_path_factory.mktemp("dist")
    descriptors.write(folder / "cbrgateway.binpb")
    template = yaml.safe_load((CLIENTS / "buf.gen.yaml").read_text(encoding="utf-8")) | {
        "plugins": [{"local": [str(BIN / "protoc-gen-mypy")], "out": "gen"}]
    }
    (folder / "buf.gen.yaml").write_text(yaml.safe_dump(template), encoding="utf-8")
    environ = os.environ | {"HOME": str(folder), "BUF_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [BIN / "buf", "generate"],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return folder / "gen"


def test_it_generates_our_package_and_the_details_of_errors(generated):
    ours = {path.stem for path in (ROOT / "protos" / "cbrgateway" / "v1").glob("*.proto")} - {
        "options"
    }
    wanted = {
        *(f"cbrgateway/v1/{name}" for name in ours),
        "google/rpc/error_details",
        "google/rpc/status",
        "google/type/date",
    }
    assert {str(path.relative_to(generated)) for path in generated.rglob("*.pyi")} == {
        f"{name}_pb2.pyi" for name in wanted
    }


def test_the_code_imports_no_options_of_the_gateway(generated):
    texts = [path.read_text(encoding="utf-8") for path in generated.rglob("*.pyi")]
    assert not [text for text in texts if "validate_pb2" in text or "options_pb2" in text]


def test_protoc_takes_the_set_as_the_page_on_clients_says(tmp_path):
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\$ (.+ --descriptor_set_in=(?:\\\n|.)+)$", page, re.MULTILINE)
    (tmp_path / "protos").symlink_to(ROOT / "protos")
    descriptors.write(tmp_path / "dist" / "cbrgateway.binpb")
    imports = "from cbrgateway.v1 import vault_pb2, vault_pb2_grpc; print(vault_pb2.__file__)"
    # Without what is installed in place, as in an environment of one's own.
    path = f"own/code:{sysconfig.get_path('purelib')}"
    script = f"{command}\nPYTHONPATH={path} own/bin/python -S -c '{imports}'".replace(
        "own/bin/python", sys.executable
    )
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (
        Path(done.stdout.strip())
        == tmp_path / "own" / "code" / "cbrgateway" / "v1" / "vault_pb2.py"
    )


def test_the_set_for_clients_has_the_comments_and_no_options():
    stripped = descriptors.load()
    content = stripped.SerializeToString()
    assert b"/v3/{project_id}/vaults" not in content
    assert b"this.server_id != ''" not in content
    assert b"Creates a vault." in content
    pool = DescriptorPool()
    for file in stripped.file:
        pool.Add(file)
    assert (
        pool.FindServiceByName("cbrgateway.v1.VaultService")
        .methods_by_name["GetVault"]
        .GetOptions()
        .idempotency_level
        == 1
    )


@pytest.mark.parametrize("file", descriptors.load().file, ids=lambda file: file.name)
def test_the_class_of_a_file_has_a_name_that_no_message_has(file):
    """In Java vault.proto would become the class Vault, which is the message of types.proto."""
    if file.package == "cbrgateway.v1":
        name = "".join(
            part.capitalize()
            for part in file.name.rpartition("/")[2].removesuffix(".proto").split("_")
        )
        assert file.options.java_outer_classname == f"{name}Proto"
