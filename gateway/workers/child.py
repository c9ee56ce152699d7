"""Processes of the gateway, and filling their places again when they end."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Awaitable, Callable
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


class Child:
    """A process that was forked for us."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None
        """Once it has ended: its exit code, negative for a signal; None where nobody knows it."""
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def end(self) -> None:
        """It has ended."""
        self._ended.set()

    async def wait(self) -> None:
        """Until it has ended."""
        await self._ended.wait()

    def kill(self) -> None:
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def end_of(code: int | None) -> str:
    """How a process has ended, in words: its exit code, or the signal that killed it."""
    if code is None:
        return "it ended"
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
