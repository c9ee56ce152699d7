"""Pauses, time per attempt and deadlines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.retry import (
    MUTATION_CAP_S,
    READ_CAP_S,
    Deadline,
    RetryKind,
    next_delay,
)

TRANSIENT, THROTTLED = RetryKind.TRANSIENT, RetryKind.THROTTLED


def delay(attempt=1, kind=TRANSIENT, retry_after_s=None, time_left_s=100.0, dice=1.0):
    return next_delay(
        attempt, kind, retry_after_s=retry_after_s, time_left_s=time_left_s, random=lambda: dice
    )


@pytest.mark.parametrize(
    ("attempt", "kind", "ceiling"),
    [(1, TRANSIENT, 0.05), (2, TRANSIENT, 0.1), (1, THROTTLED, 1.0), (2, THROTTLED, 2.0)],
)
def test_the_pause_is_spread_over_a_doubling_ceiling(attempt, kind, ceiling):
    assert delay(attempt, kind, dice=1.0) == pytest.approx(ceiling)
    assert delay(attempt, kind, dice=0.5) == pytest.approx(ceiling / 2)
    assert delay(attempt, kind, dice=0.0) == 0


def test_a_third_failure_is_the_last():
    assert delay(attempt=3) is None
    assert delay(attempt=3, retry_after_s=0) is None


def test_a_retry_after_is_obeyed_as_it_is():
    assert delay(kind=THROTTLED, retry_after_s=7, dice=0.1) == 7
    assert delay(kind=TRANSIENT, retry_after_s=0) == 0
    assert delay(retry_after_s=-3) == 0


@pytest.mark.parametrize(
    ("left", "expected"), [(0.25, 0.05), (0.249, None), (0.0, None), (-1.0, None)]
)
def test_no_pause_that_leaves_too_little_for_an_attempt(left, expected):
    assert delay(time_left_s=left) == expected


@given(
    st.integers(1, 5),
    st.sampled_from(RetryKind),
    st.none() | st.floats(0, 100),
    st.floats(-5, 60),
    st.floats(0, 0.999),
)
def test_a_granted_pause_always_leaves_an_attempt(attempt, kind, retry_after_s, left, dice):
    found = delay(attempt, kind, retry_after_s, left, dice)
    assert found is None or (found >= 0 and _attempt_s(left - found + 1e-9) is not None)


@pytest.mark.parametrize("left_s", [0.4, 1.0, 60.0])
def test_an_attempt_is_waited_for_as_long_as_the_shortest_one_still_fits(left_s):
    deadline = Deadline(100 + left_s)
    latest = 100 + deadline.start_within_s(100)
    assert latest > 100
    assert deadline.attempt_s(latest - 1e-6) is not None
    assert deadline.attempt_s(latest + 1e-6) is None


@pytest.mark.parametrize("left_s", [0.3, 0.0, -1.0])
def test_an_attempt_for_which_there_is_no_time_is_not_waited_for(left_s):
    assert Deadline(100 + left_s).start_within_s(100) == 0


@pytest.mark.parametrize(
    ("left", "timeout"), [(60, 5.0), (5, 5), (1, 1), (0.25, 0.25), (0.19, None), (-1, None)]
)
def test_an_attempt_gets_what_is_left_up_to_five_seconds(left, timeout):
    assert _attempt_s(left) == (None if timeout is None else pytest.approx(timeout))


def _attempt_s(left):
    deadline = Deadline.begin(1000.0, None, READ_CAP_S)
    return deadline.attempt_s(1000.0 + deadline.left_s(1000.0) - left)


@pytest.mark.parametrize(
    ("client", "cap", "left"),
    [
        (None, READ_CAP_S, 9.85),
        (3.0, READ_CAP_S, 2.85),
        (1e6, READ_CAP_S, 9.85),
        (1e6, MUTATION_CAP_S, 29.85),
        (0.1, READ_CAP_S, -0.05),
    ],
)
def test_a_deadline_is_the_clients_within_our_cap(client, cap, left):
    deadline = Deadline.begin(1000.0, client, cap)
    assert deadline.left_s(1000.0) == pytest.approx(left)
    assert deadline.left_s(1001.0) == pytest.approx(left - 1)
