"""The frame around the clients: what it ships is in step with the protos, and a machine without a
toolchain is told so.
"""

import dataclasses
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from cbrgateway.v1 import quota_pb2, vault_pb2

from clients.frame import build, service_config, story, vectors
from clients.frame.checks import CHECKS
from clients.frame.languages import ROOT, languages
from clients.frame.unpack import unpack
from gateway.operations import load_catalog

LANGUAGES = languages()


@pytest.mark.parametrize("made", [service_config, vectors], ids=lambda made: made.FILE.name)
def test_shared_files_are_in_step(made):
    assert made.FILE.read_text(encoding="utf-8") == made.text(), "run `make generate`"


def test_the_service_config_repeats_nothing_that_could_happen_twice():
    config = service_config.service_config()["methodConfig"]
    groups = {
        (name["service"], name["method"]): group for group in config for name in group["name"]
    }
    assert len(groups) == sum(len(group["name"]) for group in config)
    unary = [
        binding.descriptor for binding in load_catalog() if not binding.descriptor.server_streaming
    ]
    assert set(groups) == {(rpc.containing_service.full_name, rpc.name) for rpc in unary}
    for rpc in unary:
        safe = (
            rpc.GetOptions().idempotency_level == 1 or "request_id" in rpc.input_type.fields_by_name
        )
        assert ("retryPolicy" in groups[rpc.containing_service.full_name, rpc.name]) == safe, (
            rpc.full_name
        )
    assert "request_id" in vault_pb2.CreateVaultRequest.DESCRIPTOR.fields_by_name
    assert "request_id" not in quota_pb2.SetLimitRequest.DESCRIPTOR.fields_by_name


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_pins_are_what_the_tools_of_the_language_read(language):
    """Each pinned version stands in a manifest, or in a command that installs it; and in the table
    for callers.
    """
    read = "".join(
        (language.source / name).read_text(encoding="utf-8") for name in language.manifests
    ) + repr(language.tools)
    assert not [name for name, version in language.pins.items() if version not in read]
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    (row,) = re.findall(
        rf"^\| \[[^|]*\(../clients/{language.name}/README.md\) .*$", page, re.MULTILINE
    )
    assert not [name for name, version in language.pins.items() if f"`{name}` {version}" not in row]


def test_the_page_for_callers_tells_what_each_client_has():
    """A row of the table is empty for the languages that are without its check."""
    page = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    head = re.search(r"^\| \| Python .*$", page, re.MULTILINE)
    assert head is not None
    columns = [
        name.strip().lower().replace("c++", "cpp") for name in head[0].strip("|").split("|")[1:]
    ]
    assert set(columns) == {language.name for language in LANGUAGES}
    without = {language.name: set(language.without) for language in LANGUAGES}
    assert not set().union(*without.values()) - set(CHECKS)
    rows = {
        "waiting": "waits",
        "pages": "pages",
        "client-certificates": "client-certificate",
        "errors": "kinds",
    }
    for anchor, check in rows.items():
        (row,) = re.findall(rf"^\| \[[^|]*\(#{anchor}\) \|(.*)\|$", page, re.MULTILINE)
        cells = dict(zip(columns, row.split("|"), strict=True))
        empty = {name for name, cell in cells.items() if not cell.strip()}
        assert empty == {name for name in columns if check in without[name]}, anchor


_NOT_COUNTED = re.compile(
    r"[^\w]*|(import|from|use|using|require|include|package)\b.*|#include.*|\s(cbr )?\".*\""
)
"""Lines of a program without a word, imports, and the names of Go's."""


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_the_story_in_a_readme_is_short(language):
    told = story.program(language).splitlines()
    counted = [line for line in told if not _NOT_COUNTED.fullmatch(line)]
    assert 15 < len(counted) <= 25, len(counted)
    assert story.SHOWN_ADDRESS in "".join(counted)
    assert (language.source / language.story).is_file()


@pytest.fixture
def without_toolchain():
    return dataclasses.replace(LANGUAGES[0], programs=["a-compiler-that-nobody-has"])


def test_a_language_without_its_toolchain_is_left_out_loudly(
    without_toolchain, monkeypatch, capsys
):
    monkeypatch.delenv("CI", raising=False)
    assert build.present([without_toolchain]) == []
    assert (
        f"SKIPPED {without_toolchain.name}: a-compiler-that-nobody-has is not on the path"
        in capsys.readouterr().out
    )


def test_type_checkers_read_the_stubs_of_the_installed_python_package():
    folders = {each.parent for each in (ROOT / "generated" / "python").rglob("*.pyi")}
    assert len(folders) == 2
    assert [each for each in folders if not (each / "py.typed").exists()] == []


def test_unpacking_over_an_older_state_leaves_alone_what_has_not_changed(tmp_path):
    def packed(**files):
        with zipfile.ZipFile(tmp_path / "package.zip", "w") as out:
            for name, content in files.items():
                out.writestr(f"folder/{name}", content)
        return tmp_path / "package.zip"

    folder = tmp_path / "unpacked"
    unpack(packed(same="1", changed="2", gone="3"), folder)
    os.utime(folder / "folder" / "same", (1, 1))
    unpack(packed(same="1", changed="4", new="5"), folder)
    assert {path.name: path.read_text() for path in (folder / "folder").iterdir()} == {
        "same": "1",
        "changed": "4",
        "new": "5",
    }
    assert (folder / "folder" / "same").stat().st_mtime == 1


def test_a_language_without_its_libraries_is_left_out_loudly(monkeypatch, capsys):
    monkeypatch.delenv("CI", raising=False)
    language = dataclasses.replace(
        LANGUAGES[0], programs=[], probes=[["true"], ["false", "a library"]]
    )
    assert build.present([language]) == []
    assert (
        f"SKIPPED {language.name}: `false 'a library'` fails; Debian has it in"
        in capsys.readouterr().out
    )


def test_a_machine_is_told_what_to_install(tmp_path):
    command = [sys.executable, "-m", "clients.frame.packages"]
    done = subprocess.run(
        command, env={"PATH": str(tmp_path)}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {
        package for language in LANGUAGES for package in language.packages
    }


def test_in_ci_every_toolchain_must_be_there(without_toolchain, monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(SystemExit, match=f"cannot build {without_toolchain.name}"):
        build.present([without_toolchain])


def test_what_a_late_command_has_started_ends_with_it(monkeypatch, tmp_path):
    monkeypatch.setattr("clients.frame.languages._CACHE", tmp_path)
    language = dataclasses.replace(LANGUAGES[0], environ={})
    language.tree.mkdir(parents=True)
    with pytest.raises(build.Failed, match="has not ended after 1 s"):
        build.run(language, [["sh", "-c", "sleep 100 & echo $! >child; wait"]], timeout_s=1)
    child = int((language.tree / "child").read_text())
    until = time.monotonic() + 10
    while _lives(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid):
    """A process that nobody has waited for is not alive any more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_unknown_language_is_refused_by_name():
    with pytest.raises(SystemExit, match="no such language: cobol"):
        languages(["cobol"])
