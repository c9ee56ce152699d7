"""Standard error that nobody waits for.

Its reader may be slow, or gone for good: a pipe then takes about 64 KiB, and whoever writes next
waits, be it the event loop. So what is written goes into a queue of bounded size, and a thread
takes it from there. What has no room is lost and counted; once there is room again a line says how
much.

The descriptor stays as it is. Other processes share it, and would meet a pipe that does not wait
for its reader, too.
"""

import atexit
import io
import os
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_LIMIT_BYTES: Final = 4 << 20
_PIECE_BYTES: Final = 64 << 10
_CLOSE_S: Final = 1.0
"""What the end of the process gives a slow reader."""
_PAUSE_S: Final = 0.02
_GATHER_S: Final = 0.02
"""By how much a line may be late."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class QueuedOutput(io.RawIOBase):
    """Takes whatever is written at once, from any thread."""

    def __init__(self, descriptor: int, limit_bytes: int = _LIMIT_BYTES) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._limit = limit_bytes
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._full = False
        """From the moment when the queue has no room until it is half empty: lines are lost in
        stretches, with one notice for each.
        """
        self._lost = 0
        self._untold = 0
        self._torn = False
        self._ending = False
        # Re-entrant: a collection of garbage at any step below may make Python write a warning.
        self._bell = threading.Condition(threading.RLock())
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """Lines that were lost since the start."""
        return self._lost

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, text: "ReadableBuffer", /) -> int:
        piece = bytes(text)
        # Libraries try by a write of nothing what a stream takes.
        if not piece:
            return 0
        with self._bell:
            if self._full or self._ending or self._size + len(piece) > self._limit:
                self._full = True
                self._lose(piece)
            else:
                self._waiting.append(piece)
                self._size += len(piece)
                self._bell.notify()
        return len(piece)

    def end(self, within_s: float = _CLOSE_S) -> None:
        """Writes what waits, as far as the reader takes it in time.

        What is written later is lost.
        """
        with self._bell:
            self._ending = True
            self._bell.notify()
        self._thread.join(within_s)

    def _lose(self, piece: bytes) -> None:
        lines = piece.count(b"\n")
        self._lost += lines
        self._untold += lines

    def _run(self) -> None:
        """The thread."""
        while piece := self._next():
            untold = self._done_with(piece, written=self._written(piece))
            if untold:
                log.error("lines of this log were lost: they were not read in time", lines=untold)

    def _next(self) -> bytes:
        """Waits for something to write; empty at the end."""
        with self._bell:
            self._bell.wait_for(lambda: self._waiting or self._ending)
        if not self._ending:
            # Waking up takes more than writing does: what is written meanwhile wakes nobody.
            time.sleep(_GATHER_S)
        with self._bell:
            taken: list[bytes] = []
            size = 0
            while self._waiting and size < _PIECE_BYTES:
                taken.append(self._waiting.popleft())
                size += len(taken[-1])
            return b"".join(taken)

    def _written(self, piece: bytes) -> bool:
        """Whether all of it was. A line that was cut short before is ended first."""
        rest = memoryview(b"\n" + piece if self._torn else piece)
        whole = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:
                # Another process has made the pipe so.
                time.sleep(_PAUSE_S)
            except OSError:
                self._torn = self._torn or 0 < len(rest) < whole
                return False
        self._torn = False
        return True

    def _done_with(self, piece: bytes, *, written: bool) -> int:
        """How many lines were lost, when that is to be told now."""
        with self._bell:
            self._size -= len(piece)
            if not written:
                self._lose(piece)
            elif self._untold and self._size <= self._limit // 2 and not self._ending:
                self._full = False
                untold, self._untold = self._untold, 0
                return untold
        return 0


def install() -> QueuedOutput | None:
    """Puts a queue before standard error until the process ends: for logs, warnings, tracebacks and
    whatever else Python writes there.

    None where there is no standard error: it was closed.
    """
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the process ends
        return None
    output = QueuedOutput(sys.stderr.fileno())
    sys.stderr = io.TextIOWrapper(
        output, encoding=sys.stderr.encoding, errors="backslashreplace", write_through=True
    )
    # After the traceback of an exception that nobody caught.
    atexit.register(output.end)
    return output
