"""`make clients`: code into `generated/<language>`, packages into `dist`."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from clients.frame import descriptors, tree
from clients.frame.generate import generate
from clients.frame.languages import CLIENTS, DIST, Command, Language


class Failed(Exception):  # noqa: N818 - says what is the case
    """A command of a language ended with an error; what it printed stands above."""


def present(languages: Iterable[Language]) -> list[Language]:
    """Those whose tools are here.

    In CI all must be; elsewhere the others are left out, and loudly.
    """
    found: list[Language] = []
    absent: list[Language] = []
    for language in languages:
        (absent if language.missing() else found).append(language)
    for language in absent:
        print(
            f"*** SKIPPED {language.name}: {', '.join(language.missing())}; Debian has it in"
            f" {' '.join(language.packages)} ***"
        )
    if absent and os.environ.get("CI"):
        raise SystemExit(
            "CI must build every client, and cannot build"
            f" {', '.join(language.name for language in absent)}"
        )
    return found


def build_descriptors() -> None:
    """What any language can be generated from."""
    descriptors.write()
    shutil.copy(CLIENTS / "buf.gen.yaml", DIST)


def build(language: Language) -> None:
    """Raises Failed."""
    began = time.monotonic()
    language.cache.mkdir(parents=True, exist_ok=True)
    tree.lay(language)
    _install(language)
    generate(language)
    tree.lay(language)
    run(language, language.package)
    print(f"built {language.name} in {time.monotonic() - began:.0f} s", flush=True)


def _install(language: Language) -> None:
    stamp = language.cache / "tools.stamp"
    wanted = language.fingerprint()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        run(language, language.tools)
        stamp.write_text(wanted, encoding="utf-8")


def run(
    language: Language,
    commands: Sequence[Command],
    more: Mapping[str, str] | None = None,
    timeout_s: float = 600,
) -> None:
    """Runs commands of a language in its tree.

    Raises Failed at the first that does not end well, or in time.
    """
    path = os.pathsep.join(
        (str(language.cache / "bin"), str(Path(sys.executable).parent), os.environ["PATH"])
    )
    environ = os.environ | {"PATH": path} | dict(language.environ) | dict(more or {})
    for command in commands:
        # A group of its own, so that what a build tool has started ends with it.
        process = subprocess.Popen(
            command,
            cwd=language.tree,
            env=environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as late:
            raise Failed(
                f"{language.name}: `{shlex.join(command)}` has not ended after {timeout_s:g} s"
            ) from late
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if code:
            raise Failed(
                f"{language.name}: `{shlex.join(command)}` has ended with exit code {code}"
            )
