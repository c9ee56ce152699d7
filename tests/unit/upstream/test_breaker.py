"""Circuit breakers, on a stepped clock."""

import pytest

from gateway.upstream.breaker import Breaker, Traffic, Verdict
from gateway.upstream.breakers import Breakers
from tests.fakes import SteppedClock

OK, BAD, NOTHING = Verdict.SUCCESS, Verdict.FAILURE, Verdict.NOTHING


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def breaker(clock):
    return Breaker("test", clock, lambda: 0.5)


def run(breaker, *verdicts):
    for verdict in verdicts:
        permit = breaker.acquire()
        assert permit is not None
        breaker.settle(permit, verdict)


def opened(breaker):
    run(breaker, *[BAD] * 20)
    assert breaker.is_open


def test_half_of_twenty_calls_open_it(breaker):
    run(breaker, *[BAD, OK] * 9, BAD)
    assert not breaker.is_open
    run(breaker, OK)
    assert breaker.is_open
    assert breaker.acquire() is None


def test_less_than_half_does_not(breaker):
    run(breaker, OK, OK, *[OK, BAD] * 100)
    assert not breaker.is_open


def test_nineteen_failures_do_not(breaker):
    run(breaker, *[BAD] * 19)
    assert not breaker.is_open


def test_failures_are_forgotten_after_ten_seconds(breaker, clock):
    run(breaker, *[BAD] * 19)
    clock.advance(11)
    run(breaker, *[BAD] * 19)
    assert not breaker.is_open


def test_cancelled_calls_say_nothing(breaker):
    run(breaker, *[NOTHING] * 100, *[BAD] * 19, *[NOTHING] * 100)
    assert not breaker.is_open


@pytest.mark.parametrize(("dice", "pause"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_the_pause_is_five_seconds_give_or_take_a_fifth(clock, dice, pause):
    breaker = Breaker("test", clock, lambda: dice)
    opened(breaker)
    assert breaker.retry_after_s() == pytest.approx(pause)
    clock.advance(pause - 0.01)
    assert breaker.acquire() is None
    clock.advance(0.02)
    assert breaker.acquire() is not None


def test_three_probes_that_succeed_close_it(breaker, clock):
    opened(breaker)
    clock.advance(5)
    probes = [breaker.acquire() for _ in range(4)]
    assert [probe is not None for probe in probes] == [True, True, True, False]
    for probe in probes[:3]:
        assert breaker.is_open
        breaker.settle(probe, OK)
    assert not breaker.is_open
    run(breaker, *[BAD] * 19)
    assert not breaker.is_open


def test_one_probe_that_fails_opens_it_again(breaker, clock):
    opened(breaker)
    clock.advance(5)
    run(breaker, OK, BAD)
    assert breaker.retry_after_s() == pytest.approx(5)
    clock.advance(5)
    run(breaker, OK, OK, OK)
    assert not breaker.is_open


def test_a_cancelled_probe_makes_room_for_another(breaker, clock):
    opened(breaker)
    clock.advance(5)
    run(breaker, NOTHING, NOTHING, NOTHING, NOTHING, OK, OK, OK)
    assert not breaker.is_open


def test_changes_are_probed_one_at_a_time(clock):
    breaker = Breaker("test", clock, lambda: 0.5, at_once=1)
    opened(breaker)
    clock.advance(5)
    probe = breaker.acquire()
    assert breaker.acquire() is None
    breaker.settle(probe, OK)
    run(breaker, OK, OK)
    assert not breaker.is_open


def test_calls_from_before_the_opening_prove_nothing(breaker, clock):
    old = [breaker.acquire() for _ in range(6)]
    opened(breaker)
    clock.advance(5)
    for permit in old[:3]:
        breaker.settle(permit, OK)
    assert breaker.is_open
    for permit in old[3:]:
        breaker.settle(permit, BAD)
    assert breaker.retry_after_s() == 0
    run(breaker, OK, OK, OK)
    assert not breaker.is_open


def test_those_of_hosts_are_kept_by_endpoint_and_traffic(clock):
    breakers = Breakers(clock, lambda: 0.5)
    opened(breakers.host("a", Traffic.READ))
    assert breakers.host("a", Traffic.READ).is_open
    assert not breakers.host("a", Traffic.WRITE).is_open
    assert not breakers.host("a", Traffic.IAM).is_open
    assert not breakers.host("b", Traffic.READ).is_open


class TestWrites:
    @pytest.fixture
    def pair(self, clock):
        breakers = Breakers(clock, lambda: 0.5)
        return breakers.host("a", Traffic.READ), breakers.host("a", Traffic.WRITE)

    def test_reads_that_succeed_after_the_pause_close_it(self, pair, clock):
        reads, writes = pair
        opened(writes)
        clock.advance(4.9)
        run(reads, OK, OK, OK)
        clock.advance(0.2)
        assert writes.acquire() is None
        run(reads, OK, OK)
        assert writes.acquire() is None
        run(reads, OK)
        assert writes.acquire() is not None

    def test_a_read_that_fails_opens_it_again(self, pair, clock):
        reads, writes = pair
        opened(writes)
        clock.advance(5)
        run(reads, OK, BAD)
        assert writes.retry_after_s() == pytest.approx(5)

    def test_probes_of_the_reads_count_too(self, pair, clock):
        reads, writes = pair
        opened(reads)
        opened(writes)
        clock.advance(5)
        run(reads, OK, OK, OK)
        assert not reads.is_open
        assert not writes.is_open

    def test_without_any_read_they_go_one_at_a_time(self, pair, clock):
        _, writes = pair
        opened(writes)
        clock.advance(5)
        probe = writes.acquire()
        assert probe is not None
        assert writes.acquire() is None
        writes.settle(probe, OK)
        run(writes, OK, OK)
        assert not writes.is_open

    def test_reads_that_come_now_and_then_do_not_keep_writes_out(self, pair, clock):
        reads, writes = pair
        opened(writes)
        clock.advance(5)
        run(reads, OK)
        assert writes.acquire() is None, "three reads that succeed are the proof"
        clock.advance(4)
        run(reads, OK)
        assert writes.acquire() is None
        clock.advance(1)
        assert writes.acquire() is not None, "they have not come within a pause"
        assert writes.acquire() is None, "one at a time"

    def test_reads_that_stop_half_way_do_not_leave_it_open_for_ever(self, pair, clock):
        reads, writes = pair
        opened(writes)
        clock.advance(5)
        run(reads, OK)
        assert writes.acquire() is None
        clock.advance(5)
        run(writes, OK, OK)
        assert not writes.is_open
