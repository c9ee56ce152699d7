"""CBR's time, told from the `Date` of its answers.

Our own wall clock plays no part in it, since it may be minutes off.

An answer that was asked for at `asked` and had by `got`, both monotonic, bears a Date that was cut
to a whole second in between. So CBR's time is ahead of our monotonic time by at least `date - got`
and by less than `date + 1 - asked`. Each answer narrows that down. One that contradicts all before
it means that a clock was set, or that not all who answer have the same time: for a while it may be
either, and then what was told last counts alone.
"""

import math
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.clock import Clock
from gateway.upstream.http import HttpResponse

_RESOLUTION_S: Final = 1.0
_MARGIN_S: Final = 0.5
"""How far apart the machines may be that write CBR's Date headers and its creation times."""
_DRIFT: Final = 2e-4
"""By how much two clocks may move apart in a second."""
_SERVERS_S: Final = 0.5
"""What agrees may be the clocks of two servers that are a second apart: by so much to both sides
CBR's time may be another than what all of them have told. Always as much, so that of two moments
of one process the later one is not told as the earlier one.
"""
_WIDEST_S: Final = 10.0
"""Where less is known of CBR's time than this, nothing is."""
_SET_S: Final = 5.0
"""A difference of clocks that has changed by more was changed by somebody."""
_BELIEVED_S: Final = 24 * 3600.0
"""A Date that is further from our time than this is nobody's time."""
_DOUBTED_S: Final = 600.0
"""How long what an answer has contradicted may still be right."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """A moment by CBR's clock, as far as it is known: seconds since 1970.

    `agreed`: the earliest that it can be by whoever tells it latest, where several do.
    """

    earliest: float
    latest: float
    agreed: float = -math.inf

    def hull(self, other: "Span | None") -> "Span":
        """Either of both."""
        if other is None:
            return self
        return Span(
            min(self.earliest, other.earliest),
            max(self.latest, other.latest),
            max(self.earliest, self.agreed, other.earliest, other.agreed),
        )


class RemoteClock:
    """The clock of one endpoint."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead: Span | None = None
        """By how much CBR's time is ahead of our monotonic time."""
        self._learnt_at = 0.0
        self._doubted: Span | None = None
        """The same, as answers had it that were contradicted."""
        self._doubted_at = -math.inf

    def observe(self, response: HttpResponse, asked: float) -> None:
        """Learns from any answer.

        `asked`: a moment before its request was sent, by the monotonic clock.
        """
        got, date = self._clock.monotonic(), date_of(response)
        if date is None or abs(date - self._clock.time()) > _BELIEVED_S:
            return
        earliest, latest = date - got - _MARGIN_S, date + _RESOLUTION_S - asked + _MARGIN_S
        known = self._widened(got)
        if known is not None and max(known.earliest, earliest) <= min(known.latest, latest):
            earliest, latest = max(known.earliest, earliest), min(known.latest, latest)
        elif known is not None:
            self._doubted, self._doubted_at = known.hull(self._doubtful(got)), got
        self._ahead, self._learnt_at = Span(earliest, latest), got

    def now(self) -> Span | None:
        """None: not known, or not well enough to compare anything with it."""
        now = self._clock.monotonic()
        ahead = self._widened(now)
        if ahead is not None and self._doubted is not None:
            ahead = ahead.hull(self._doubtful(now))
        if ahead is None or ahead.latest - ahead.earliest > _WIDEST_S:
            return None
        return Span(
            ahead.earliest + now - _SERVERS_S, ahead.latest + now + _SERVERS_S, ahead.agreed + now
        )

    def of_today(self, then: Span | None, wall: float) -> Span | None:
        """A moment as it was told then, so that it can be compared with CBR's times of today; None:
        it cannot, since a clock was set, or nothing is known.

        `wall`: the same moment by our wall clock, by which it is told anew: who told it then may
        have been wrong.
        """
        now = self.now()
        if then is None or now is None:
            return None
        ago = self._clock.time() - wall
        anew = Span(now.earliest - ago, now.latest - ago, now.agreed - ago)
        if anew.earliest - then.latest > _SET_S or then.earliest - anew.latest > _SET_S:
            return None
        return then.hull(anew)

    def _doubtful(self, now: float) -> Span | None:
        return self._doubted if now - self._doubted_at < _DOUBTED_S else None

    def _widened(self, now: float) -> Span | None:
        """What was learnt, less sure with every second since."""
        if self._ahead is None:
            return None
        drift = (now - self._learnt_at) * _DRIFT
        return Span(self._ahead.earliest - drift, self._ahead.latest + drift)


def is_dated(moment: Timestamp) -> bool:
    """Whether CBR has said when."""
    return moment.seconds > 0


def earliest(moment: Timestamp) -> float:
    """The earliest time that CBR can mean by a moment."""
    return moment.seconds + moment.nanos / 1e9 if is_dated(moment) else -math.inf


def latest(moment: Timestamp) -> float:
    """The latest time that CBR can mean by a moment: one in whole seconds was cut to them."""
    if not is_dated(moment):
        return math.inf
    return moment.seconds + (moment.nanos / 1e9 or _RESOLUTION_S)


def date_of(response: HttpResponse) -> float | None:
    """The Date of an answer in seconds since 1970; None where it has none that can be read."""
    text = response.headers.get("date")
    return None if text is None else _seconds(text)


@lru_cache(maxsize=16)
def _seconds(date: str) -> float | None:
    """Read once for all answers of a second. HTTP knows no zone but GMT."""
    try:
        read = parsedate_to_datetime(date)
        return read.timestamp() if read.utcoffset() == timedelta() else None
    except (ValueError, OverflowError):
        return None
