"""When the answer to a change whose outcome is not known is final, and what it then is.

At the latest once CBR has had `quota.settle_s` to show the change, counted from the loss of its
answer, or from when a gateway takes over from one that died. Each change then ends in one of three
ways:

    done        CBR shows it
    not done    CBR does not show it, which proves that it was not carried out, or a repeat of it
                does no harm
    undecided   neither is proved: a person has to look. CBR goes on being asked, rarely, and a
                proof that comes later counts

Sooner, where `quota.carry_out_s` says by when CBR is through with a request that it has taken on,
and a list proves the rest: CBR lists things in the order in which it made them, so that a complete
list which shows something of a certain age shows everything that is older. That measures how late
its lists are. A list that was asked for `carry_out_s` and twice that lateness after the loss shows
the change or proves that there is none. Nothing that CBR shows tells how long a request may wait to
be carried out: without that setting only `settle_s` counts.
"""

import math
from collections.abc import Iterable
from enum import Enum
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Struct

from gateway.upstream.declaration import Binding, RetryClass
from gateway.upstream.remote_clock import RemoteClock

_TIMES: Final = 2.0


class Unseen(Enum):
    """What it means that CBR does not show a change by then."""

    NOT_DONE = "not done"
    UNDECIDED = "undecided"


def unseen(binding: Binding) -> Unseen:
    """What must never be sent twice is not given up by itself: that nothing is shown is no proof
    that is good enough.
    """
    undecided = binding.retry_class is RetryClass.NEVER or binding.untraceable
    return Unseen.UNDECIDED if undecided else Unseen.NOT_DONE


class Listed(Struct, frozen=True):
    """What a complete list tells of itself: when the newest of its rows was made, by CBR's clock,
    and how long ago that was at most.
    """

    newest: float
    age_s: float


def listed(moments: Iterable[Timestamp], clock: RemoteClock) -> Listed | None:
    """`moments`: when the rows were made. None: it tells nothing."""
    now, newest = (
        clock.now(),
        max((moment.ToNanoseconds() / 1e9 for moment in moments), default=-math.inf),
    )
    if now is None or not 0 < newest <= now.latest:
        return None
    return Listed(newest, now.latest - newest)


class Wait:
    """How long one change is waited for.

    Moments are monotonic; `began`: when its answer had been lost. `missed`: CBR was asked since,
    and did not show it.
    """

    def __init__(self, settle_s: float, carry_out_s: float, began: float) -> None:
        self._settle_s = settle_s
        self._carry_out_s = carry_out_s
        self._began = began
        self._lag_s = math.inf
        self._newest = -math.inf
        self.missed = False

    def pause_s(self, now: float, pause_s: float) -> float:
        """How long to wait for the next look: one comes at the moment at which a list may prove
        something, and one at the bound.
        """
        proof_s, bound_s = self._began + self._needed_s - now, self.bound_s(now)
        return min([pause_s, *(left_s for left_s in (proof_s, bound_s) if left_s > 0)])

    def bound_s(self, now: float) -> float:
        """How long until the answer is final, whatever lists prove."""
        return self._began + self._settle_s - now

    def over(self, asked: float) -> bool:
        """Whether an answer that was asked for then is the last word."""
        return asked - self._began >= self._settle_s

    def proves(self, asked: float, shown: Listed | None) -> bool:
        """Whether a list asked for then that does not show the change proves that there is none."""
        self.missed = True
        if shown is None or shown.newest < self._newest:
            # It tells nothing, or is older than one before it.
            return self.over(asked)
        self._newest, self._lag_s = shown.newest, min(self._lag_s, shown.age_s)
        return asked - self._began >= self._needed_s

    @property
    def _needed_s(self) -> float:
        return min(self._settle_s, self._carry_out_s + self._lag_s * _TIMES)
