"""Starting a process of the gateway, and filling its place again when it ends."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import structlog
from msgspec import Struct

_STEADY_S: Final = 10.0
"""Who has worked for so long ended for a reason of its own."""
_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class NotStarted(Exception):  # noqa: N818 - says what is the case
    """The first process of a place ended before it could do its work."""


async def started(
    module: str, word: str, descriptors: Collection[int]
) -> asyncio.subprocess.Process:
    """A process that runs a module of ours, with the same libraries, and has these descriptors.

    It has a group of its own: what the keys of a terminal send goes to the parent alone.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module, word),
        stdin=asyncio.subprocess.DEVNULL,
        pass_fds=tuple(descriptors),
        env=os.environ | {"PYTHONPATH": paths},
        process_group=0,
    )


def end_of(process: asyncio.subprocess.Process) -> str:
    """How a process has ended, in words: its exit code, or the signal that killed it."""
    code = process.returncode
    if code is None:
        return "it did not end"
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
    return f"it was killed by {name}{hint}"


class Ended(Struct, frozen=True):
    """How a process has ended; `problem`: why it did not come to its work, None if it did."""

    how: str
    problem: str | None


class Keeper:
    """One place. `replaced`: how many processes had to be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.replaced = 0
        self.ending = False
        """From then on nobody is replaced."""

    async def run(self, once: Callable[[], Awaitable[Ended]]) -> None:
        """`once` is a process from its start to its end. Raises NotStarted."""
        failures, worked = 0, False
        while True:
            began = time.monotonic()
            ended = await once()
            if self.ending:
                return
            if ended.problem is not None and not worked:
                raise NotStarted(ended.problem)
            worked = True
            steady = ended.problem is None and time.monotonic() - began > _STEADY_S
            failures = 0 if steady else failures + 1
            pause_s = min(_LONGEST_PAUSE_S, _PAUSE_S * (2 ** max(0, failures - 1) - 1))
            self.replaced += 1
            log.error(
                "a process of the gateway has ended unasked and is replaced",
                process=self.name,
                cause=ended.problem or ended.how,
                in_s=pause_s,
            )
            await asyncio.sleep(pause_s)
            if self.ending:
                return
