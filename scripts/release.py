"""What a release has, into dist/release: wheels, an SBOM (CycloneDX) of what the image installs,
and the provenance of all (an in-toto statement, SLSA v1). Two runs on one commit give the same
bytes.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).parents[1]
_OUT: Final = _ROOT / "dist" / "release"
_PACKAGES: Final = (_ROOT, _ROOT / "clients" / "python")
_LOCK: Final = "requirements.lock"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sbom", type=Path, required=True, help="the program cyclonedx-py")
    arguments.add_argument("--untagged", action="store_true", help="for a trial")
    given = arguments.parse_args()
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tag = f"v{project['version']}"
    if not given.untagged and tag not in _git("tag", "--points-at", "HEAD").split():
        sys.exit(f"this commit does not bear the tag {tag} of the version in pyproject.toml")
    if not given.untagged and _git("status", "--porcelain"):
        sys.exit("the tree is not what was committed: commit or remove what differs")
    shutil.rmtree(_OUT, ignore_errors=True)
    _OUT.mkdir(parents=True)
    # The time in the archives is the commit's: they do not depend on when they are made.
    environ = os.environ | {"SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct").strip()}
    for folder in _PACKAGES:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(_OUT)]
        subprocess.run(command, cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    _sbom(given.sbom, environ)
    provenance = json.dumps(_provenance(), indent=2, sort_keys=True) + "\n"
    (_OUT / "provenance.json").write_text(provenance, encoding="utf-8")
    for file in sorted(_OUT.iterdir()):
        print(f"{_digest(file)}  {file.name}")


def _sbom(program: Path, environ: dict[str, str]) -> None:
    out = str(_OUT / "sbom.cdx.json")
    command = [str(program), "requirements", _LOCK, "--pyproject", "pyproject.toml"]
    options = ["--output-reproducible", "--spec-version", "1.6", "-o", out]
    subprocess.run([*command, *options], cwd=_ROOT, env=environ, check=True)


def _provenance() -> dict[str, Any]:
    files = sorted(_OUT.iterdir())
    commit = _git("rev-parse", "HEAD").strip()
    locks = [_LOCK, "requirements-build.lock"]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": each.name, "digest": {"sha256": _digest(each)}} for each in files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:cbr-gateway:make-release:v1",
                "externalParameters": {"target": "release"},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": commit}},
                    *(
                        {"name": lock, "digest": {"sha256": _digest(_ROOT / lock)}}
                        for lock in locks
                    ),
                ],
            },
            "runDetails": {"builder": {"id": "urn:cbr-gateway:make"}},
        },
    }


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 - that of whoever makes the release
        cwd=_ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
