"""Circuit breakers: what fails half of its calls is left alone for a while.

This one counts calls: for a host, those that come to no connection; for one operation on one
object, those that end in a 5xx or in silence. What many of these have in common is watched by
group.py, and breakers.py puts all of them in a row. The state is local to the process. Answers of
other kinds are successes, 429 too (it paces one project). A call that was cancelled says nothing,
nor does an answer that is larger than the gateway takes.

After its pause a breaker lets three probes through; three successes close it, one failure opens it
again. Only reads may be probes (and IAM's own calls for IAM). So an open breaker for writes watches
the reads of its host instead: three of them that succeed after its pause close it. Where no read
has been tried for as long as a pause, or the three have not come within another one, waiting for
them could last; then writes are let through one at a time, and their outcome counts in the same
way. So it is, too, where reads cannot tell: whether an operation works that changes something, only
its own calls show.
"""

import math
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeAlias

import structlog
from msgspec import Struct

from gateway.clock import Clock

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_WINDOW_S: Final = 10.0
_BUCKET_S: Final = 1.0
_MIN_CALLS: Final = 20
_FAILED_SHARE: Final = 0.5
_PAUSE_S: Final = 5.0
_PAUSE_JITTER: Final = 0.2
PROBES: Final = 3
"""Calls that are let through after a pause, and successes that close a breaker."""


class Traffic(Enum):
    """Reads may be tried out; a change could end in doubt."""

    READ = "read"
    WRITE = "write"
    IAM = "iam"


class Level(Enum):
    """What a breaker watches, from the widest to the narrowest."""

    HOST = "host"
    ENDPOINT = "endpoint"
    PROJECT = "project"
    OPERATION = "operation"
    OBJECT = "object"


class Verdict(Enum):
    """What a finished call says of what it was aimed at.

    UNREACHABLE: it came to no connection, so it says nothing of what is behind.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    UNREACHABLE = "unreachable"
    NOTHING = "nothing"


Permit: TypeAlias = int
"""Leave to make one call; give it to `settle` exactly once.

It numbers the breaker's state, so that calls of an earlier one are told apart.
"""


class _Bucket(Struct, eq=False):
    begun: float
    calls: int = 0
    failures: int = 0


class Window:
    """Calls and failures of the last ten seconds."""

    def __init__(self) -> None:
        self._buckets: deque[_Bucket] = deque()
        self._newest: _Bucket | None = None
        self._calls = 0
        self._failures = 0

    def count(self, now: float, *, failed: bool) -> bool:
        """Counts one call. True when half of at least 20 calls have failed."""
        newest = self._newest
        if newest is None or now - newest.begun >= _BUCKET_S:
            newest = self._begin(now)
        newest.calls += 1
        self._calls += 1
        if failed:
            newest.failures += 1
            self._failures += 1
        elif not self._failures:
            return False
        return self._calls >= _MIN_CALLS and self._failures >= _FAILED_SHARE * self._calls

    def _begin(self, now: float) -> _Bucket:
        self._newest = newest = _Bucket(now)
        self._buckets.append(newest)
        while now - self._buckets[0].begun > _WINDOW_S:
            old = self._buckets.popleft()
            self._calls -= old.calls
            self._failures -= old.failures
        return newest

    def clear(self) -> None:
        self._buckets.clear()
        self._newest = None
        self._calls = self._failures = 0


class Pause:
    """How long a breaker stays open: 5 s, give or take a fifth, so that not all return at once."""

    MEAN_S: Final = _PAUSE_S

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def length_s(self) -> float:
        return _PAUSE_S * (1 + _PAUSE_JITTER * (2 * self._random() - 1))


def note_opened(name: str, pause_s: float) -> None:
    log.warning("breaker opened", breaker=name, pause_s=round(pause_s, 1))


def note_closed(name: str) -> None:
    log.info("breaker closed", breaker=name)


class Breaker:
    """One breaker.

    `reads`: for writes, the breaker whose calls tell when all is well again; `at_once`: probes at
    the same time.
    """

    def __init__(
        self,
        name: str,
        clock: Clock,
        random: Callable[[], float],
        reads: "Breaker | None" = None,
        *,
        at_once: int = PROBES,
    ) -> None:
        self._name = name
        self._clock = clock
        self._pause = Pause(random)
        self._reads = reads
        self._at_once = at_once
        self._window = Window()
        self._epoch = 0
        self._ends_at: float | None = None  # of the pause; None while closed
        self._probing = 0
        self._proved = 0
        self._followers: list[Breaker] = []
        self._tried_at = -math.inf
        if reads is not None:
            reads._followers.append(self)  # noqa: SLF001 - same class

    @property
    def is_open(self) -> bool:
        return self._ends_at is not None

    def retry_after_s(self) -> float:
        """Seconds until the pause ends; 0 when it has, or when the breaker is closed."""
        return 0.0 if self._ends_at is None else max(0.0, self._ends_at - self._clock.monotonic())

    def acquire(self) -> Permit | None:
        """Leave for one call, or None while the endpoint is to be left alone."""
        self._tried_at = self._clock.monotonic()
        if self._ends_at is not None:
            if self.retry_after_s() > 0 or not self._may_probe():
                return None
            self._probing += 1
        return self._epoch

    def settle(self, permit: Permit, verdict: Verdict) -> None:
        """Reports the end of a call.

        What was begun in an earlier state is not counted in this one.
        """
        if permit == self._epoch:
            if self._ends_at is not None:
                self._probing -= 1
                self._prove(verdict)
            elif verdict is not Verdict.NOTHING and self._window.count(
                self._clock.monotonic(), failed=verdict is Verdict.FAILURE
            ):
                self._open()
        for follower in self._followers:
            if follower.is_open and follower.retry_after_s() == 0:
                follower._prove(verdict)  # noqa: SLF001 - same class

    def _may_probe(self) -> bool:
        if self._reads is None:
            return self._probing < self._at_once and self._probing + self._proved < PROBES
        assert self._ends_at is not None
        now = self._clock.monotonic()
        # Reads that come now and then prove nothing in time, so waiting for three of them has an
        # end.
        quiet = now - self._reads._tried_at >= _PAUSE_S  # noqa: SLF001 - same class
        return self._probing == 0 and (quiet or now - self._ends_at >= _PAUSE_S)

    def _prove(self, verdict: Verdict) -> None:
        if verdict is Verdict.FAILURE:
            self._open()
        elif verdict is Verdict.SUCCESS:
            self._proved += 1
            if self._proved >= PROBES:
                self._begin(None)

    def _open(self) -> None:
        pause_s = self._pause.length_s()
        note_opened(self._name, pause_s)
        self._begin(self._clock.monotonic() + pause_s)

    def _begin(self, ends_at: float | None) -> None:
        if ends_at is None:
            note_closed(self._name)
        self._ends_at = ends_at
        self._epoch += 1
        self._probing = 0
        self._proved = 0
        self._window.clear()
