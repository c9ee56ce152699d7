"""Completion in real shells: each loads the script that `cbrctl completion` prints."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cbrctl.conftest import BILLING, PROGRAM

ASKED = {
    "a group": ("vau", "vaults"),
    "a verb": ("vaults li", "list"),
    "a verb by hand": ("backup ", "now"),
    "an option": ("vaults create --size", "--size-gib"),
    "a report": ("report unpro", "unprotected"),
    "a field to explain": ("explain VaultSpec.bil", "VaultSpec.billing"),
    "a word": ("vaults list --status avail", "available"),
}

# Each prints what would be offered for the line, one on a line.
_BASH = """
eval "$(cbrctl completion bash)"
COMP_WORDS=(cbrctl {words}) COMP_CWORD={last}
_cbrctl_completion cbrctl
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
_ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; autoload -Uz compinit; compinit -u -d {folder}/dump'
zpty -w shell 'eval "$(cbrctl completion zsh)"'
zpty -w shell 'zstyle ":completion:*" list-prompt ""; LISTMAX=1000; echo rea''dy'
zpty -r shell text '*ready*'
zpty -w -n shell 'cbrctl {line}'$'\\t\\t'
sleep 0.1
zpty -r shell more '*{wanted}*'
print -r -- $more
"""
_FISH = "cbrctl completion fish | source; complete --do-complete='cbrctl {line}'"


@pytest.fixture
def shell(environ, tmp_path):
    """What a shell offers for the line behind `cbrctl`."""
    path = os.pathsep.join((str(Path(PROGRAM).parent), environ["PATH"]))
    environ = environ | {"PATH": path, "HOME": str(tmp_path), "TERM": "dumb"}

    def offered(name, line, wanted):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        words = line.split(" ")
        script = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[name].format(
            words=" ".join(f"'{word}'" for word in words),
            last=len(words),
            line=line,
            wanted=wanted,
            folder=tmp_path,
        )
        done = subprocess.run(
            [name, "-c", script],
            env=environ,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert "Traceback" not in done.stderr
        return done.stdout

    return offered


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("line", "wanted"), ASKED.values(), ids=[*ASKED])
def test_words_are_completed(shell, name, line, wanted):
    assert wanted in shell(name, line, wanted)


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_ids_and_names_of_the_gateway_are_completed(shell, ok, name):
    made = ok("vaults", "create", "--name", f"complete-{name}", *BILLING, "-o", "name").strip()
    try:
        assert made in shell(name, f"vaults get {made[:6]}", made)
        assert f"complete-{name}" in shell(name, "vaults get compl", f"complete-{name}")
        assert made in shell(name, f"backups list --vault-id {made[:6]}", made)
        assert made in shell(name, f"backup now {made[:6]}", made)
    finally:
        ok("vaults", "delete", made, "--yes", "--wait")


def test_contexts_are_completed(shell, ok):
    ok("config", "set", "production", "--address", "gateway:1")
    assert "production" in shell("bash", "config use pro", "production")
    assert "production" in shell("bash", "--context pro", "production")


def test_a_gateway_that_is_away_completes_nothing_and_says_nothing(shell, monkeypatch):
    monkeypatch.setenv("CBR_ADDRESS", "127.0.0.1:1")
    assert shell("bash", "--address 127.0.0.1:1 vaults get a", "").strip() == ""
