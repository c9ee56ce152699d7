"""What is known of CBR's time, and what is not claimed to be known."""

from email.utils import formatdate

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.upstream.http import HttpResponse
from gateway.upstream.remote_clock import RemoteClock, Span, latest
from tests.fakes import SteppedClock

HOUR = 3600


class Cloud:
    """A cloud whose clock is `ahead_s` ahead of ours, `away_s` away there and back."""

    def __init__(self, ahead_s=0.0, away_s=0.2):
        self.clock = SteppedClock(1_738_310_950.4)
        self.remote = RemoteClock(self.clock)
        self.ahead_s, self.away_s = ahead_s, away_s

    @property
    def time(self):
        return self.clock.time() + self.ahead_s

    def answer(self):
        asked = self.clock.monotonic()
        self.clock.advance(self.away_s / 2)
        date = formatdate(int(self.time), usegmt=True)
        self.clock.advance(self.away_s / 2)
        self.remote.observe(HttpResponse(200, {"date": date}, b""), asked)

    def right(self):
        now = self.remote.now()
        return now is not None and now.earliest <= self.time <= now.latest


@pytest.mark.parametrize("ahead_s", [0, 0.7, 90, -90, 15 * 60, -15 * 60, 23 * HOUR])
def test_the_clouds_time_is_known_however_wrong_ours_is(ahead_s):
    cloud = Cloud(ahead_s)
    assert cloud.remote.now() is None
    for _ in range(50):
        cloud.answer()
        assert cloud.right()
        cloud.clock.advance(0.37)
    now = cloud.remote.now()
    assert now.latest - now.earliest < 1.5


def test_a_slow_answer_tells_little_and_takes_nothing_back():
    cloud = Cloud(90, away_s=30)
    cloud.answer()
    assert cloud.remote.now() is None
    cloud.away_s = 0.2
    cloud.answer()
    cloud.away_s = 30
    cloud.answer()
    assert cloud.right()


def test_what_was_learnt_long_ago_is_less_sure_and_then_nothing():
    cloud = Cloud(90)
    cloud.answer()
    before = cloud.remote.now()
    cloud.clock.advance(HOUR)
    later = cloud.remote.now()
    assert cloud.right()
    assert later.latest - later.earliest > before.latest - before.earliest
    cloud.clock.advance(24 * HOUR)
    assert cloud.remote.now() is None


@pytest.mark.parametrize("date", ["", "yesterday", formatdate(0, usegmt=True)])
def test_a_date_that_cannot_be_believed_tells_nothing(date):
    cloud = Cloud()
    cloud.remote.observe(HttpResponse(200, {"date": date}, b""), cloud.clock.monotonic())
    assert cloud.remote.now() is None


def test_our_wall_clock_plays_no_part():
    cloud = Cloud(90)
    cloud.answer()
    before = cloud.remote.now()
    cloud.clock.start -= HOUR
    assert cloud.remote.now() == before


@pytest.mark.parametrize("whose", ["ours", "theirs"])
@pytest.mark.parametrize("by_s", [60, -60, HOUR])
def test_a_clock_that_was_set_makes_older_moments_incomparable(whose, by_s):
    cloud = Cloud(90)
    cloud.answer()
    then, wall = cloud.remote.now(), cloud.clock.time()
    cloud.clock.advance(600)
    cloud.answer()
    assert cloud.remote.comparable(then, wall)
    if whose == "ours":
        cloud.clock.start += by_s
        cloud.ahead_s -= by_s
    else:
        cloud.ahead_s += by_s
    cloud.answer()
    assert not cloud.remote.comparable(then, wall)
    assert not cloud.remote.comparable(None, wall)
    then, wall = cloud.remote.now(), cloud.clock.time()
    assert cloud.remote.comparable(then, wall)
    # After a restart nothing is comparable before the first answer.
    assert not RemoteClock(cloud.clock).comparable(Span(0, 1), 0)


def test_a_moment_in_whole_seconds_was_cut_to_them():
    assert latest(Timestamp(seconds=10)) == 11
    assert latest(Timestamp(seconds=10, nanos=500_000_000)) == 10.5
