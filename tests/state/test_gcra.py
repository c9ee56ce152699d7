"""The bucket's arithmetic against one that counts tokens."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.state import Bucket, gcra


@settings(max_examples=60, database=None)
@given(
    rate=st.sampled_from([1.0, 4.0, 32.0]),
    burst=st.integers(1, 6),
    calls=st.lists(st.tuples(st.integers(0, 64), st.integers(1, 3)), max_size=40),
)
def test_as_a_bucket_of_tokens(rate: float, burst: int, calls: list[tuple[int, int]]):
    # Times are multiples of 1/32 s, so that the reference counts without rounding.
    debts, tokens, now = {}, float(burst), 0.0
    for pause, cost in calls:
        now += pause / 32
        tokens = min(burst, tokens + rate * pause / 32)
        taken = gcra.take(debts, [Bucket("b", rate, burst, cost)], now)
        assert taken.allowed is (tokens >= cost)
        if taken.allowed:
            tokens -= cost
        elif cost <= burst:
            assert taken.retry_after_s == pytest.approx((cost - tokens) / rate)
        assert taken.remaining == int(tokens)
        assert taken.reset_s == pytest.approx((burst - tokens) / rate)


def test_never_more_than_rate_and_burst_in_any_window():
    debts, bucket = {}, Bucket("b", rate_per_s=200, burst=20)
    admitted = sum(gcra.take(debts, [bucket], step / 1000).allowed for step in range(1000))
    assert admitted == 20 + 199
