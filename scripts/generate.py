"""Generates the committed Python stubs and the descriptor set from `protos/`.

Third-party `.proto` files are not kept in the tree: google/type and google/rpc come with the
installed googleapis-common-protos, buf/validate from the hash-locked source package in
`protos/third-party.lock`. Both are laid out under `.cache/third-party`, where `buf` finds them as
well. From the result come the page docs/errors.md, the RPCs in README.md, the catalogue and schema
of audit records, the schema of events, the service config and the test vectors of the clients, and
what `cbrctl` knows of the API.

Run `make generate` after every change below `protos/`; `make check` fails when the committed result
is out of date.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import files
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
CACHE = ROOT / ".cache" / "third-party"
GOOGLE = (
    "google/type/date.proto",
    "google/rpc/code.proto",
    "google/rpc/status.proto",
    "google/rpc/error_details.proto",
)


def lay_out_third_party() -> None:
    """Puts the third-party .proto files below `.cache/third-party`, one folder per source."""
    for package_path in files("googleapis-common-protos") or ():
        if str(package_path) in GOOGLE:
            target = CACHE / "google" / package_path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(package_path.locate()), target)
    validate = CACHE / "protovalidate" / "buf" / "validate" / "validate.proto"
    if not validate.exists():
        download = CACHE / "download"
        lock = PROTOS / "third-party.lock"
        fetch = [
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            "--require-hashes",
        ]
        subprocess.run(
            [sys.executable, "-m", *fetch, "-r", str(lock), "-d", str(download)], check=True
        )
        (archive,) = download.glob("protovalidate-*.tar.gz")
        with tarfile.open(archive) as source:
            (member,) = (
                m for m in source.getmembers() if m.name.endswith("/buf/validate/validate.proto")
            )
            content = source.extractfile(member)
            assert content is not None
            validate.parent.mkdir(parents=True, exist_ok=True)
            validate.write_bytes(content.read())


def protoc(*arguments: str) -> None:
    """Runs the protoc of grpcio-tools with our own and the third-party protos on its path."""
    from grpc_tools import (  # noqa: PLC0415 - only when it is needed
        protoc as compiler,
    )

    # protoc looks for its plugins on the path; they are installed beside this interpreter.
    os.environ["PATH"] = os.pathsep.join(
        (str(Path(sys.executable).parent), os.environ.get("PATH", ""))
    )
    include = Path(compiler.__file__).parent / "_proto"
    paths = [PROTOS, CACHE / "protovalidate", CACHE / "google", include]
    code = compiler.main(["protoc", *(f"-I{path}" for path in paths), *arguments])
    if code:
        raise SystemExit(code)


def generate(out: Path) -> None:
    """Writes `out/python` (modules, type stubs, and the package that leads to both) and
    `out/cbrgateway.binpb` (descriptor set with comments).
    """
    python = out / "python"
    if python.exists():
        shutil.rmtree(python)
    python.mkdir(parents=True)
    own = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    protoc(
        f"--python_out={python}",
        f"--grpc_python_out={python}",
        f"--mypy_out=quiet:{python}",
        f"--mypy_grpc_out=quiet:{python}",
        *own,
    )
    protoc(f"--python_out={python}", f"--mypy_out=quiet:{python}", "buf/validate/validate.proto")
    for useless in python.rglob("*_pb2_grpc.py*"):
        if "Stub" not in useless.read_text():
            useless.unlink()
    protoc(
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={out / 'cbrgateway.binpb'}",
        *own,
        *GOOGLE,
    )
    facade = [sys.executable, "-m", "scripts.python_facade", str(out)]
    subprocess.run(facade, cwd=ROOT, check=True)


def differs(left: Path, right: Path) -> list[str]:
    """Names of committed files that are not the same below `left` and `right`."""

    def contents(base: Path) -> dict[str, bytes]:
        committed = ((base / "python").rglob("*"), base.glob("*.binpb"))
        found = (p for p in chain(*committed) if p.is_file() and "__pycache__" not in p.parts)
        return {str(p.relative_to(base)): p.read_bytes() for p in found}

    old, new = contents(left), contents(right)
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="fail if the committed result is out of date"
    )
    check = parser.parse_args().check
    lay_out_third_party()
    out = ROOT / ".cache" / "generated" if check else ROOT / "generated"
    out.mkdir(parents=True, exist_ok=True)
    generate(out)
    if check and (stale := differs(ROOT / "generated", out)):
        raise SystemExit(
            "generated code is out of date, run `make generate`:\n  " + "\n  ".join(stale)
        )
    # In interpreters of their own, which load the stubs as they are now.
    made_from_them = (
        "scripts.error_page",
        "scripts.audit_page",
        "scripts.events_schema",
        "scripts.api_table",
        "clients.frame.files",
        "scripts.cbrctl_commands",
    )
    for made in made_from_them:
        ended = subprocess.run(
            [sys.executable, "-m", made, *(["--check"] if check else [])], cwd=ROOT, check=False
        )
        if ended.returncode:
            raise SystemExit(ended.returncode)


if __name__ == "__main__":
    main()
