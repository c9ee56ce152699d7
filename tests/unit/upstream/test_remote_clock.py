"""What is known of CBR's time, and what is not claimed to be known."""

import math
import time
from email.utils import formatdate

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.upstream.http import HttpResponse
from gateway.upstream.remote_clock import RemoteClock, Span, date_of, earliest, is_dated, latest
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
    assert now.latest - now.earliest < 2.5


def test_of_two_moments_the_later_one_is_never_told_as_the_earlier_one():
    """However much is learnt between them: what was found before a change is not its own."""
    cloud = Cloud(0.3, away_s=0.001)
    cloud.answer()
    for _ in range(50):
        cloud.clock.advance(0.37)
        before = cloud.remote.now()
        cloud.answer()
        assert cloud.remote.now().earliest > before.earliest


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


@pytest.mark.parametrize("zone", ["", " -0000", " CST", " +0100"])
def test_a_date_in_another_zone_than_gmt_tells_nothing(zone, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        date = formatdate(1_738_310_950, usegmt=True).replace(" GMT", zone)
        assert date_of(HttpResponse(200, {"date": date}, b"")) is None
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("by_s", [0.9, -0.9, 3.5, -3.5, 6, -6])
def test_where_two_clocks_tell_the_time_it_may_be_either(by_s):
    cloud = Cloud()
    cloud.answer()
    for turn in range(1, 20):
        cloud.ahead_s = by_s * (turn % 2)
        cloud.answer()
        cloud.clock.advance(20)
        now, here = cloud.remote.now(), cloud.clock.time()
        assert now.earliest <= here <= now.latest
        assert now.earliest <= here + by_s <= now.latest
        assert now.agreed <= max(here, here + by_s)
        assert abs(by_s) < 1 or now.agreed > min(here, here + by_s)
    cloud.clock.advance(601)
    cloud.answer()
    now = cloud.remote.now()
    assert now.latest - now.earliest < 3.5


@pytest.mark.parametrize("by_s", [4, -4, 9])
def test_a_moment_that_was_told_by_another_clock_may_be_either(by_s):
    cloud = Cloud()
    cloud.answer()
    then, wall = cloud.remote.now(), cloud.clock.time()
    cloud.remote = RemoteClock(cloud.clock)
    cloud.ahead_s = by_s
    cloud.answer()
    found = cloud.remote.of_today(then, wall)
    assert (found is None) is (by_s == 9)
    if found is not None:
        assert found.earliest <= min(wall, wall + by_s)
        assert found.latest >= max(wall, wall + by_s)


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
    assert cloud.remote.of_today(then, wall)
    if whose == "ours":
        cloud.clock.start += by_s
        cloud.ahead_s -= by_s
    else:
        cloud.ahead_s += by_s
    cloud.answer()
    assert not cloud.remote.of_today(then, wall)
    assert not cloud.remote.of_today(None, wall)
    # Whether it was set, or two clocks tell the time, shows in a while.
    assert (cloud.remote.now() is None) is (whose == "theirs")
    cloud.clock.advance(601)
    cloud.answer()
    then, wall = cloud.remote.now(), cloud.clock.time()
    assert cloud.remote.of_today(then, wall)
    # After a restart nothing is comparable before the first answer.
    assert not RemoteClock(cloud.clock).of_today(Span(0, 1), 0)


def test_a_moment_in_whole_seconds_was_cut_to_them():
    assert latest(Timestamp(seconds=10)) == 11
    assert earliest(Timestamp(seconds=10)) == 10
    assert latest(Timestamp(seconds=10, nanos=500_000_000)) == 10.5


def test_what_is_not_dated_can_be_of_any_time():
    assert not is_dated(Timestamp())
    assert (earliest(Timestamp()), latest(Timestamp())) == (-math.inf, math.inf)
