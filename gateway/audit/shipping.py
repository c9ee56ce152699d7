"""Sends a log's records to a collector: in their order, each at least once, however long the
collector is away and whenever this process ends.

Nothing waits for it but retention: a segment that was not sent is not removed.
"""

import threading
from typing import Final, Protocol

import structlog

from gateway.audit.attempt import problem_of
from gateway.audit.backlog import Backlog

_LOOK_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
_CLOSE_S: Final = 3.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Unsent(OSError):  # noqa: N818 - says what is the case
    """The collector has not taken the records. The text says why, and shows no secret."""


class Collector(Protocol):
    """Where records go."""

    def send(self, lines: list[bytes]) -> None:
        """Returns once the collector has them. Raises Unsent."""
        ...

    def close(self) -> None:
        """Ends a `send` that goes on, from another thread."""
        ...


class Shipper:
    """Does this in a thread of its own."""

    def __init__(self, backlog: Backlog, collector: Collector) -> None:
        self._backlog = backlog
        self._collector = collector
        self._batch: list[bytes] = []
        self._trouble = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-shipper", daemon=True)

    @property
    def sent(self) -> int:
        """The number of the last record that the collector has."""
        return self._backlog.sent

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Sends what is left, if that does not take long; the next process sends the rest."""
        self._closing.set()
        self._thread.join(_CLOSE_S)
        self._collector.close()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        pause_s = _LOOK_S
        while True:
            closing = self._closing.is_set()
            problem = problem_of(self._ship, "sending the audit log failed inside")
            self._judge(problem)
            if closing:
                return
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S) if problem else _LOOK_S
            self._closing.wait(pause_s)

    def _ship(self) -> None:
        """Sends all that is there. Raises OSError, of which Unsent is one."""
        while batch := self._batch or self._backlog.take():
            self._batch = batch
            self._collector.send(batch)
            self._batch = []
            self._backlog.note(batch[-1])

    def _judge(self, problem: str) -> None:
        if problem and problem != self._trouble:
            log.error(
                "audit records cannot be sent to the collector; they are kept and sent later",
                cause=problem,
                sent=self.sent,
            )
        if self._trouble and not problem:
            log.info("audit records are sent to the collector again", sent=self.sent)
        self._trouble = problem
