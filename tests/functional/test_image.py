"""The production image, as far as it can be had without Docker: the same files, the same build, the
same packages, in an environment of its own.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from testkit.ports import free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
ENVIRON = {
    "ACME_ACCESS_KEY": "access",
    "ACME_SECRET_KEY": "secret",
    "GLOBEX_PASSWORD": "password",
    # The usual ports may be another gateway's.
    "CBR_GATEWAY_SERVER__LISTEN": "127.0.0.1:0",
    "CBR_GATEWAY_SERVER__HEALTH_LISTEN": "127.0.0.1:0",
    "CBR_GATEWAY_ADMIN__LISTEN": "127.0.0.1:0",
}


def copied() -> list[str]:
    """What the build stage takes from the tree."""
    build, _, _ = DOCKERFILE.partition("\nFROM python:3.11-slim-bookworm\n")
    return [
        source
        for line in re.findall(r"^COPY (.*)$", build, re.MULTILINE)
        for source in shlex.split(line)[:-1]
    ]


def locked() -> dict[str, str]:
    """Package -> version in requirements.lock, for this platform."""
    lines = re.findall(
        r"^([a-z0-9._-]+==[^\\\n]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    wanted = [
        requirement
        for line in lines
        if (requirement := Requirement(line)).marker is None or requirement.marker.evaluate()
    ]
    return {
        requirement.name: str(requirement.specifier).removeprefix("==") for requirement in wanted
    }


def health_check() -> list[str]:
    """The container's own, as this machine has its file."""
    (command,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    python, *options, file = json.loads(command)
    _, _, inside = file.partition("/site-packages/")
    return [python, *options, str(ROOT / inside)]


def link(package: str, version: str, site: Path) -> None:
    """Puts an installed package into another environment, file by file, since several share the
    folder `google`.
    """
    installed = distribution(package)
    assert installed.version == version, (
        f"{package} {installed.version} is installed, run `make test`"
    )
    for file in installed.files or ():
        target = site / file
        if ".." in file.parts or not (source := Path(str(file.locate()))).exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of an environment that holds what the image does."""
    source, target = tmp_path_factory.mktemp("src"), tmp_path_factory.mktemp("image")
    for name in copied():
        here = ROOT / name
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if here.is_dir() else shutil.copyfile
        copy(here, source / name)
    for part in (source, source / "clients" / "python"):
        build = [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "-t",
            "wheel",
            "-d",
            str(source / "dist"),
        ]
        subprocess.run(build, cwd=part, capture_output=True, check=True)
    venv.create(target, symlinks=True)
    (site,) = target.glob("lib/python*/site-packages")
    for package, version in locked().items():
        link(package, version, site)
    wheels = [str(wheel) for wheel in (source / "dist").glob("*.whl")]
    install = ["install", "--quiet", "--no-deps", "--no-index", *wheels]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(target / "bin" / "python"), *install],
        check=True,
    )
    return target / "bin"


def run(image: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(image / "cbr-gateway"), *arguments]
    return subprocess.run(
        command, cwd=image, env=ENVIRON, capture_output=True, text=True, timeout=100, check=False
    )


def test_the_image_needs_nothing_that_is_for_development(image: Path) -> None:
    assert run(image, "version").stdout.startswith("cbr-gateway ")
    checked = run(image, "check", "--config", str(ROOT / "config" / "example.yaml"))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith("OK: ")
    assert run(image, "explain", "CreateVault").returncode == 0
    left = ROOT / "tests" / "upgrade" / "v0_1_0" / "audit"
    found = run(image, "audit", "query", str(left), "--operation", "DeleteVault")
    assert (found.returncode, len(found.stdout.splitlines())) == (0, 2)


def test_the_image_serves(image: Path, tmp_path: Path) -> None:
    health = f"127.0.0.1:{free_port()}"
    config = ROOT / "config" / "example.yaml"
    command = [str(image / "cbr-gateway"), "serve", "--config", str(config)]
    environ = ENVIRON | {
        "CBR_GATEWAY_ADMIN__LISTEN": f"127.0.0.1:{free_port()}",
        "CBR_GATEWAY_SERVER__HEALTH_LISTEN": health,
    }
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE) as serving:
        assert serving.stderr is not None
        try:
            assert any("serving" in line.decode() for line in serving.stderr)
            assert run(image, "healthcheck", "--address", health).returncode == 0
            _, *arguments = health_check()
            port = environ["CBR_GATEWAY_ADMIN__LISTEN"].rpartition(":")[2]
            assert subprocess.run([image / "python", *arguments, port], check=False).returncode == 0
        finally:
            serving.terminate()


def test_the_image_has_no_emulator_and_no_commands_of_it(image: Path) -> None:
    commands = re.findall(r"^  ([a-z]+) ", run(image, "--help").stdout, re.MULTILINE)
    assert "serve" in commands
    assert not {"dev", "demo"} & set(commands)
    for package in ("emulator", "devstack", "starlette", "rich"):
        done = subprocess.run(
            [str(image / "python"), "-c", f"import {package}"],
            cwd=image,
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"No module named '{package}'" in done.stderr


def test_the_image_runs_as_nobody_and_asks_itself_how_it_is(image: Path) -> None:
    assert re.search(r"^USER (\d+):(\d+)$", DOCKERFILE, re.MULTILINE)
    _, *arguments = health_check()
    assert subprocess.run([image / "python", *arguments, "1"], check=False).returncode == 1


def test_docker_is_given_no_more_than_it_copies() -> None:
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(allowed) == sorted(copied())


def test_what_the_image_sets_is_what_the_documents_say():
    listen = re.findall(r"^ +(CBR_GATEWAY_\w+__\w*LISTEN)=0\.0\.0\.0:\d+", DOCKERFILE, re.MULTILINE)
    assert len(listen) == 3
    said = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in listen if f"`{name}`" not in said] == []
