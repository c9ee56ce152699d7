"""When an attempt may start, how long it may take, and how long to wait before the next one.

Arithmetic only: no waiting, no sending.
"""

from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

MAX_ATTEMPTS: Final = 3
MIN_ATTEMPT_S: Final = 0.2
"""An attempt with less time than this is not started: it would most likely be work for nobody."""
MAX_ATTEMPT_S: Final = 5.0
READ_CAP_S: Final = 10.0
MUTATION_CAP_S: Final = 30.0

_MAX_BACKOFF_S: Final = 20.0
_RESERVE_S: Final = 0.15
"""Kept back for our own answer: 50 ms to reply, 100 ms to settle what was done."""


class RetryKind(Enum):
    """Why an attempt failed, as far as the pause and the budget care."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"


_BASE_S: Final = {RetryKind.TRANSIENT: 0.05, RetryKind.THROTTLED: 1.0}


class Deadline(msgspec.Struct, frozen=True, gc=False):
    """The monotonic time at which a call's answer must be on its way."""

    ends_at: float

    @classmethod
    def begin(cls, now: float, client_remaining_s: float | None, cap_s: float) -> "Deadline":
        """The client's own remaining time, at most `cap_s`; a client that set none gets `cap_s`."""
        return cls(now + (cap_s if client_remaining_s is None else min(client_remaining_s, cap_s)))

    def left_s(self, now: float) -> float:
        """Seconds left for upstream work, our own reserve taken off; negative when it is over."""
        return self.ends_at - now - _RESERVE_S

    def start_within_s(self, now: float) -> float:
        """How long an attempt may be waited for: the shortest one has to come in time."""
        return max(0.0, self.ends_at - now - _RESERVE_S - MIN_ATTEMPT_S)

    def attempt_s(self, now: float) -> float | None:
        """Seconds that an attempt started now may take; None: too little time is left for one."""
        left_s = self.ends_at - now - _RESERVE_S
        return min(MAX_ATTEMPT_S, left_s) if left_s >= MIN_ATTEMPT_S else None


def next_delay(
    attempt: int,
    kind: RetryKind,
    *,
    retry_after_s: float | None,
    time_left_s: float,
    random: Callable[[], float],
) -> float | None:
    """Seconds to wait after failed attempt number `attempt` (from 1); None: do not try again.

    A Retry-After is obeyed as it is; else full jitter under a doubling ceiling. `random` gives
    numbers in [0, 1).
    """
    if attempt >= MAX_ATTEMPTS:
        return None
    ceiling_s = min(_MAX_BACKOFF_S, _BASE_S[kind] * 2 ** (attempt - 1))
    delay_s = random() * ceiling_s if retry_after_s is None else max(retry_after_s, 0.0)
    return delay_s if delay_s + MIN_ATTEMPT_S <= time_left_s else None
