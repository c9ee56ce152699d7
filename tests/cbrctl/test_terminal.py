"""`cbrctl` as a process: at a real terminal, in pipes, and when it is interrupted."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.cbrctl.conftest import BILLING, PROGRAM

_BOUND_S = 60


class Terminal:
    """A process whose three streams are a terminal, and what it has shown."""

    def __init__(self, environ, *arguments):
        self._ours, its = pty.openpty()
        self.process = subprocess.Popen(
            [PROGRAM, *arguments],
            stdin=its,
            stdout=its,
            stderr=its,
            env=environ | {"TERM": "xterm"},
        )
        os.close(its)
        self.shown = ""

    def until(self, words):
        """Reads until the words are there."""
        end = time.monotonic() + _BOUND_S
        while words not in self.shown:
            assert time.monotonic() < end, self.shown
            if not self._read():
                break
        assert words in self.shown, self.shown

    def type(self, text):
        os.write(self._ours, text.encode())

    def ended(self):
        """Reads the rest; the exit code."""
        while self._read():
            pass
        return self.process.wait(_BOUND_S)

    def interrupt(self):
        """Until it ends: Python does not hear a signal just before it waits for a line."""
        end = time.monotonic() + _BOUND_S
        while self.process.poll() is None and time.monotonic() < end:
            self.process.send_signal(signal.SIGINT)
            self._read(0.5)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._ours)

    def _read(self, bound_s=_BOUND_S):
        """Whether there may be more."""
        if not select.select([self._ours], [], [], bound_s)[0]:
            return False
        try:
            more = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        self.shown += more.decode()
        return bool(more)


@pytest.fixture
def terminal(environ):
    opened = []

    def run(*arguments):
        opened.append(Terminal(environ, *arguments))
        return opened[-1]

    yield run
    for each in opened:
        each.close()


@pytest.fixture
def vault(ok, ctl):
    free = "[?protectable.result && !(protectable.vault)].id | [-1]"
    found = ok("protectables", "list", "server", "--query", free)
    resource = f"id={found.strip()},type=OS::Nova::Server"
    made = ok(
        "vaults", "create", "--name", "shown", *BILLING, "--resources", resource, "-o", "name"
    )
    yield made.strip()
    ctl("vaults", "delete", made.strip(), "--force", "--yes", "--wait")


def test_it_asks_before_it_destroys_and_says_what(terminal, ok, vault):
    ok("backup", "now", vault, "--wait")
    refused = terminal("vaults", "delete", "shown")
    assert (refused.ended(), "VAULT_NOT_EMPTY" in refused.shown) == (3, True)
    asked = terminal("vaults", "delete", "shown", "--force")
    asked.until("Do it? [y/N]: ")
    assert "Deletes a vault with all its backups." in asked.shown
    assert f"vault {vault}" in asked.shown
    assert "name shown" in asked.shown
    assert "1 backup would go with it, the newest from 20" in asked.shown
    asked.type("n\n")
    assert (asked.ended(), "Nothing was done." in asked.shown) == (1, True)
    ok("vaults", "get", vault)
    sure = terminal("vaults", "delete", "shown", "--force", "--wait")
    sure.until("Do it? [y/N]: ")
    sure.type("y\n")
    assert sure.ended() == 0


def test_work_has_a_bar_at_a_terminal_and_lines_in_a_pipe(terminal, process, vault):
    bars = terminal("backup", "now", vault, "--wait")
    assert bars.ended() == 0
    assert "\x1b[" in bars.shown
    assert "100%" in bars.shown
    assert "1 succeeded" in bars.shown
    piped = process("backup", "now", vault, "--wait")
    assert (piped.returncode, "\x1b" in piped.stderr + piped.stdout) == (0, False)
    assert re.search(r"backup \S+: 100 %, succeeded", piped.stderr)


def test_an_interrupt_is_no_trace(terminal, vault):
    watching = terminal("tasks", "watch", "--submission", "0" * 32, "--reconnect-timeout", "100")
    asked = terminal("vaults", "delete", vault)
    asked.until("Do it? [y/N]: ")
    for each in (asked, watching):
        each.interrupt()
    assert asked.ended() == 130
    watching.ended()
    assert "Traceback" not in asked.shown + watching.shown


def in_bash(environ, script):
    return subprocess.run(
        ["bash", "-c", script],
        env=environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_reader_that_leaves_early_is_no_error(environ, ok, vault):
    """`head` has gone before the rest is written: more than a pipe holds."""
    script = f"'{PROGRAM}' explain VaultStatus | head -n 1; '{PROGRAM}' vaults list | head -n 1"
    done = in_bash(environ, script)
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].startswith("VaultStatus")
    closed = in_bash(environ, f"'{PROGRAM}' vaults list >&-")
    assert "Traceback" not in closed.stderr


@pytest.mark.parametrize("words", ["--help", "explain VaultStatus", "vaults list", "quota -o json"])
def test_output_that_goes_nowhere_is_not_work_that_ended_badly(environ, vault, words):
    script = f"'{PROGRAM}' {words} | true; exit ${{PIPESTATUS[0]}}"
    assert in_bash(environ, script).returncode == 141


def test_output_without_room_is_told(environ, vault):
    done = in_bash(environ, f"'{PROGRAM}' vaults list > /dev/full")
    assert done.returncode == 1
    assert done.stderr == "Error: The output cannot be written: no space is left.\n"


def test_what_nobody_thought_of_is_a_sentence_and_its_place_on_request(environ):
    broken = environ | {"CBRCTL_CONFIG": "/dev/null\x01/x", "XDG_CONFIG_HOME": "x"}
    code = (
        "import cbrctl.main\n"
        "def broken(*_, **__): raise RuntimeError('odd')\n"
        "cbrctl.main.main.callback = broken\n"
        "import sys; sys.argv = ['cbrctl', 'vaults', 'list']\n"
        "from cbrctl.__main__ import run\nrun()"
    )
    for more, trace in (({}, False), ({"CBRCTL_DEBUG": "1"}, True)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=broken | more,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ("Traceback" in done.stderr, "RuntimeError: odd" in done.stderr) == (trace, True)
        assert done.returncode == (1 if trace else 70)


def test_the_version_is_told(process):
    assert re.fullmatch(r"cbrctl \d+\.\d+\.\d+\S*\n", process("--version").stdout)


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1", "C.UTF-8"])
def test_names_that_a_terminal_cannot_show_are_no_error(process, environ, ok, locale):
    made = ok("vaults", "create", "--name", "数据库", *BILLING, "-o", "name").strip()
    environ = environ | {"LC_ALL": locale, "PYTHONIOENCODING": "" if locale != "C" else "ascii"}
    shown = process("vaults", "list", env=environ)
    ok("vaults", "delete", made, "--force", "--yes", "--wait")
    assert (shown.returncode, made in shown.stdout) == (0, True)
