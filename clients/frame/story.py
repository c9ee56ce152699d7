"""The program of a README, run as it stands there: in the place of the package's example, against
a `cbr-gateway dev` as its reader has one.
"""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from clients.frame import build
from clients.frame.languages import ROOT, Language
from testkit.ports import free_port

HEADING: Final = "## Protect, back up, wait, restore, report"
SHOWN_ADDRESS: Final = "127.0.0.1:50051"
"""Where READMEs have the gateway."""
_BLOCK: Final = re.compile(r"^```\S+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LAST_LOG: Final = 2000


def program(language: Language) -> str:
    """The first block of code under HEADING. Raises LookupError where there is none."""
    page = (language.source / "README.md").read_text(encoding="utf-8")
    part = page.partition(f"\n{HEADING}\n")[2].partition("\n## ")[0]
    found = _BLOCK.search(part)
    if found is None:
        raise LookupError(f"{language.name}: README.md has no program under `{HEADING}`")
    return found["text"]


def run(language: Language, folder: Path, timeout_s: float) -> None:
    """Raises Failed."""
    with _gateway(folder / "dev.log") as address:
        told = program(language).replace(SHOWN_ADDRESS, address)
        (language.tree / language.story).write_text(told, encoding="utf-8")
        build.run(language, language.example, timeout_s=timeout_s)


@contextlib.contextmanager
def _gateway(log: Path) -> Iterator[str]:
    """The address of a gateway that serves. Raises RuntimeError where it does not come up."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        sys.executable,
        "-m",
        "gateway",
        "dev",
        "--listen",
        address,
        "--admin-listen",
        "127.0.0.1:0",
    ]
    for other in ("--health-listen", "--http-listen", "--emulator-listen"):
        command += [other, f"127.0.0.1:{free_port()}"]
    path = os.pathsep.join((str(ROOT / "generated" / "python"), str(ROOT)))
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        if not any(address in line for line in process.stdout):
            raise RuntimeError(
                f"the gateway does not serve:\n{log.read_text(errors='replace')[-_LAST_LOG:]}"
            )
        yield address
    finally:
        process.terminate()
        process.communicate()
