"""The thread that takes anchors to their places."""

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import structlog

from gateway.audit.anchors import AnchorPlace
from gateway.audit.attempt import problem_of
from gateway.audit.record import Anchor

_HANGS_S: Final = 30.0
_CLOSE_S: Final = 3.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Anchors:
    """A place that hangs delays no record and no other thread.

    Where anchors come too fast for it, only the newest is kept.
    """

    def __init__(self, places: Sequence[AnchorPlace]) -> None:
        self._places = places
        self._bell = threading.Condition()
        self._waiting: Anchor | None = None
        self._closing = False
        self._busy_since: float | None = None
        self._trouble: dict[int, str] = {}
        # A place that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="audit-anchors", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def put(self, anchor: Anchor) -> None:
        """Never waits."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > _HANGS_S:
            self._judge(-1, f"a place has not answered for {_HANGS_S:.0f} s")
        with self._bell:
            self._waiting = anchor
            self._bell.notify()

    def close(self) -> None:
        """Takes the last one to its places, if they answer soon."""
        with self._bell:
            self._closing = True
            self._bell.notify()
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        while True:
            with self._bell:
                self._bell.wait_for(lambda: self._closing or self._waiting is not None)
                anchor, self._waiting = self._waiting, None
            if anchor is None:
                return
            for number, place in enumerate(self._places):
                self._busy_since = time.monotonic()
                self._judge(
                    number,
                    problem_of(partial(place.add, anchor), "keeping an anchor failed inside"),
                )
                self._busy_since = None
            self._judge(-1, "")

    def _judge(self, place: int, problem: str) -> None:
        if problem and problem != self._trouble.get(place):
            log.error("the audit log's anchors cannot be kept", cause=problem)
        self._trouble[place] = problem
