"""The token bucket: what was taken is owed in cost units, and is paid off at the rate of the limit.

Pure functions; `lua/take.lua` says the same.

A limit can change while something is owed. Units are the same under every limit, and a bucket owes
at most its burst. Nobody tells the bucket when its rate changed, so that between two calls the
greater of their rates counts: the doubt is the caller's, up to one burst.
"""

import math
from collections.abc import MutableMapping, Sequence

import msgspec

from gateway.state.rates import Bucket, Taken

_INSTANT_S = 1e-6
"""A shorter wait is rounding."""
_ROUNDING = 1e-3
"""Of a call: makes up for differences of times, which would turn 3 calls left into 2.999999."""


class Debt(msgspec.Struct, frozen=True, gc=False):
    """What was owed at a time, and the rate that was in force."""

    units: float
    at: float
    rate_per_s: float

    def left(self, bucket: Bucket, now: float) -> float:
        """What is still owed, under the limit as it is now."""
        paid = max(now - self.at, 0) * max(self.rate_per_s, bucket.rate_per_s)
        return min(max(self.units - paid, 0), bucket.deepest)

    def full_at(self) -> float:
        return self.at + self.units / self.rate_per_s


def take(debts: MutableMapping[str, Debt], buckets: Sequence[Bucket], now: float) -> Taken:
    """Takes from all buckets or none. A bucket that is not in `debts` is full."""
    waits, before, after = [], [], []
    refused = False
    for bucket in buckets:
        debt = debts.get(bucket.key)
        owed = debt.left(bucket, now) if debt else 0.0
        wait = (
            math.inf
            if bucket.cost > bucket.burst
            else (owed + bucket.cost - bucket.burst) / bucket.rate_per_s
        )
        if wait < _INSTANT_S:
            wait = 0.0
        refused = refused or (wait > 0 and not bucket.shadow)
        waits.append(wait)
        before.append(owed)
        after.append(owed + bucket.cost if wait == 0 else owed)
    owing = before if refused else after
    # Also what was refused is written: the next call must find the rate of this one.
    debts.update(
        (bucket.key, Debt(owed, now, bucket.rate_per_s))
        for bucket, owed in zip(buckets, owing, strict=True)
    )
    return verdict(buckets, waits, owing)


def verdict(buckets: Sequence[Bucket], waits: Sequence[float], owing: Sequence[float]) -> Taken:
    """From how long each cost had to wait (0: not at all) and what each bucket then owes."""
    remaining, reset_s, retry_after_s = math.inf, 0.0, 0.0
    violated: tuple[str, ...] = ()
    would_refuse: tuple[str, ...] = ()
    for bucket, wait, owed in zip(buckets, waits, owing, strict=True):
        if bucket.shadow:
            would_refuse += (bucket.key,) if wait > 0 else ()
            continue
        if bucket.burst - owed < remaining:
            remaining, reset_s = bucket.burst - owed, owed / bucket.rate_per_s
        if wait > 0:
            violated += (bucket.key,)
            retry_after_s = max(retry_after_s, wait)
    whole = max(int(remaining + _ROUNDING), 0) if remaining < math.inf else 0
    return Taken(not violated, whole, reset_s, retry_after_s, violated, would_refuse)
