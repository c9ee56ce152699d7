"""Circuit breakers: an endpoint that fails half of its calls is left alone for a while.

The key is (endpoint, kind of traffic), never the tenant; the state is local to the process. Failures are what the endpoint is to
blame for: unreachable, timed out, 5xx. Answers of other kinds are successes, 429 too (it paces one project), and a call that was
cancelled says nothing.

After its pause a breaker lets three probes through; three successes close it, one failure opens it again. Only reads may be
probes (and IAM's own calls for IAM). So an open breaker for writes watches the reads of its endpoint instead: three of them that
succeed after its pause close it. Where no read has been tried for as long as a pause, or the three have not come within another one,
waiting for them could last; then writes are let through one at a time, and their outcome counts in the same way.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

import structlog

from gateway.clock import Clock

log: structlog.stdlib.BoundLogger = structlog.get_logger()

_WINDOW_S: Final = 10.0
_BUCKET_S: Final = 1.0
_MIN_CALLS: Final = 20
_FAILED_SHARE: Final = 0.5
_PAUSE_S: Final = 5.0
_PAUSE_JITTER: Final = 0.2
_PROBES: Final = 3


class Traffic(Enum):
    """The part of an endpoint's traffic that one breaker watches."""

    READ = "read"
    WRITE = "write"
    IAM = "iam"


class Verdict(Enum):
    """What a finished call says of its endpoint."""

    SUCCESS = "success"
    FAILURE = "failure"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Permit:
    """Leave to make one call; give it to `settle` exactly once. `epoch` tells calls of an earlier state of the breaker."""

    epoch: int


@dataclass(slots=True, eq=False)
class _Bucket:
    begun: float
    calls: int = 0
    failures: int = 0


class Breaker:
    """The breaker of one key. `reads`: for writes, the breaker whose calls tell when the endpoint is well again."""

    def __init__(self, name: str, clock: Clock, random: Callable[[], float], reads: "Breaker | None" = None) -> None:
        self._name = name
        self._clock = clock
        self._random = random
        self._reads = reads
        self._window: deque[_Bucket] = deque()
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
        return Permit(self._epoch)

    def settle(self, permit: Permit, verdict: Verdict) -> None:
        """Reports the end of a call. What was begun in an earlier state is not counted in this one."""
        if permit.epoch == self._epoch:
            if self._ends_at is None:
                self._count(verdict)
            else:
                self._probing -= 1
                self._prove(verdict)
        for follower in self._followers:
            if follower.is_open and follower.retry_after_s() == 0:
                follower._prove(verdict)  # noqa: SLF001 - same class

    def _may_probe(self) -> bool:
        if self._reads is None:
            return self._probing + self._proved < _PROBES
        assert self._ends_at is not None
        now = self._clock.monotonic()
        # Reads that come now and then prove nothing in time, so waiting for three of them has an end.
        quiet = now - self._reads._tried_at >= _PAUSE_S  # noqa: SLF001 - same class
        return self._probing == 0 and (quiet or now - self._ends_at >= _PAUSE_S)

    def _count(self, verdict: Verdict) -> None:
        if verdict is Verdict.NOTHING:
            return
        now = self._clock.monotonic()
        if not self._window or now - self._window[-1].begun >= _BUCKET_S:
            self._window.append(_Bucket(now))
        while now - self._window[0].begun > _WINDOW_S:
            self._window.popleft()
        self._window[-1].calls += 1
        self._window[-1].failures += verdict is Verdict.FAILURE
        calls = sum(bucket.calls for bucket in self._window)
        failures = sum(bucket.failures for bucket in self._window)
        if calls >= _MIN_CALLS and failures >= _FAILED_SHARE * calls:
            self._open()

    def _prove(self, verdict: Verdict) -> None:
        if verdict is Verdict.FAILURE:
            self._open()
        elif verdict is Verdict.SUCCESS:
            self._proved += 1
            if self._proved >= _PROBES:
                self._begin(None)

    def _open(self) -> None:
        jitter = 1 + _PAUSE_JITTER * (2 * self._random() - 1)
        self._begin(self._clock.monotonic() + _PAUSE_S * jitter)

    def _begin(self, ends_at: float | None) -> None:
        if ends_at is None:
            log.info("breaker closed", breaker=self._name)
        else:
            log.warning("breaker opened", breaker=self._name, pause_s=round(ends_at - self._clock.monotonic(), 1))
        self._ends_at = ends_at
        self._epoch += 1
        self._probing = 0
        self._proved = 0
        self._window.clear()


class Breakers:
    """All breakers of the process, made when first asked for. The keys come from the configuration, so they are few."""

    def __init__(self, clock: Clock, random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random
        self._known: dict[tuple[str, Traffic], Breaker] = {}

    def of(self, endpoint: str, traffic: Traffic) -> Breaker:
        key = (endpoint, traffic)
        if key not in self._known:
            reads = self.of(endpoint, Traffic.READ) if traffic is Traffic.WRITE else None
            self._known[key] = Breaker(f"{traffic.value} {endpoint}", self._clock, self._random, reads)
        return self._known[key]
