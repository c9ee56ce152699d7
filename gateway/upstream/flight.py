"""One request on its way, for both transports: where it is, how long it may be there, and what a failure proves."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from gateway.upstream.connect_failure import ConnectFailure, connect_failure
from gateway.upstream.http import Lost, NotSent, Unanswered

_NEARLY: Final = 0.95


@dataclass(slots=True, eq=False)
class Flight:
    """`timer` bounds the whole request, which must be over at `ends_at` (loop time). `connect_s`: for name, connection and TLS together.

    `patient`: whether that is all the time that a host is ever given for it, so that its silence speaks against it.
    """

    may_write: Callable[[], bool]
    timer: asyncio.Timeout
    ends_at: float
    connect_s: float
    patient: bool
    began: float = field(default_factory=time.monotonic)
    queued: bool = False
    connecting: bool = False
    written: bool = False

    @classmethod
    def begin(cls, may_write: Callable[[], bool], timer: asyncio.Timeout, timeout_s: float, connect_s: float | None, full_s: float) -> Self:
        """`connect_s`: None for all of `full_s`, which a host is given at most."""
        allowed_s = full_s if connect_s is None else min(connect_s, full_s)
        return cls(may_write, timer, asyncio.get_running_loop().time() + timeout_s, allowed_s, allowed_s == full_s)

    def note_free(self) -> None:
        """The wait for a place among the connections is over; the host's own time begins."""
        self.queued = False
        self.began = time.monotonic()

    def note_connecting(self) -> None:
        self.connecting = True
        self.began = time.monotonic()
        self._reschedule(min(self.ends_at, asyncio.get_running_loop().time() + self.connect_s))

    def note_connected(self) -> None:
        self.connecting = False
        self._reschedule(self.ends_at)

    def ran_out(self) -> Unanswered:
        """What it proves that the time is up."""
        spent_s = 0.0 if self.queued else time.monotonic() - self.began
        if self.written:
            return Lost("no complete answer came (time ran out)", patience_s=spent_s)
        if self.connecting and spent_s >= _NEARLY * self.connect_s:
            return NotSent(
                f"no connection came about in {spent_s:.1f} s", patience_s=None if self.patient else spent_s, connect=ConnectFailure.SILENT
            )
        return NotSent("no connection was made (time ran out)", patience_s=spent_s)

    def failed(self, error: BaseException) -> Unanswered:
        """What an exception of the HTTP library proves."""
        kind = type(error).__name__
        if self.written:
            return Lost(f"no complete answer came ({kind})")
        return NotSent(f"no connection was made ({kind})", connect=connect_failure(error))

    def _reschedule(self, moment: float) -> None:
        with contextlib.suppress(RuntimeError):  # the time is up already, or nobody waits any more
            self.timer.reschedule(moment)
