"""`cbr-gateway dev` as a process of its own, on free ports."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_ADDRESS: Final = re.compile(r"  (gRPC|health|HTTP|emulator) +(\S+)")
_FLAGS: Final = (
    "--listen",
    "--health-listen",
    "--admin-listen",
    "--http-listen",
    "--emulator-listen",
)
_STOP_S: Final = 5


@dataclass(frozen=True, slots=True)
class Launched:
    """A process that serves, and what it printed so far.

    `http` and `emulator` are URLs, the others are `host:port`.
    """

    process: subprocess.Popen[str]
    address: str
    health: str
    http: str
    emulator: str
    banner: str


@contextlib.contextmanager
def launched(*options: str) -> Iterator[Launched]:
    """Runs `cbr-gateway dev` with further options until the block ends.

    Raises RuntimeError if it ends before it serves.
    """
    free = [part for flag in _FLAGS for part in (flag, "127.0.0.1:0")]
    command = [sys.executable, "-m", "gateway", "dev", *free, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own command
        try:
            banner = _banner(process)
            known = dict(_ADDRESS.findall(banner))
            yield Launched(
                process,
                known["gRPC"],
                known["health"],
                known["HTTP"],
                known["emulator"],
                banner,
            )
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _banner(process: subprocess.Popen[str]) -> str:
    """Everything up to the third rule, which ends the banner."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if sum(each.startswith("====") for each in lines) == 3:  # noqa: PLR2004 - as the sentence above says
            return "".join(lines)
    raise RuntimeError(f"`cbr-gateway dev` ended with exit code {process.wait()} before it served")
