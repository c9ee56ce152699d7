"""The generic cell rate algorithm: a bucket is one number, the time at which it is full again. Pure functions; `lua/take.lua` says the same."""

import math
from collections.abc import MutableMapping, Sequence

from gateway.state.store import Bucket, Taken

_INSTANT_S = 1e-6
"""A shorter wait is rounding."""
_ROUNDING = 1e-3
"""Of a call: makes up for differences of times, which would turn 3 calls left into 2.999999."""


def take(full_at: MutableMapping[str, float], buckets: Sequence[Bucket], now: float) -> Taken:
    """Takes from all buckets or none. `full_at` holds the time at which each bucket is full; a missing one is full."""
    waits, before, after = [], [], []
    refused = False
    for bucket in buckets:
        full = max(full_at.get(bucket.key, now), now)
        taken = full + bucket.cost / bucket.rate_per_s
        wait = math.inf if bucket.cost > bucket.burst else taken - bucket.burst / bucket.rate_per_s - now
        if wait < _INSTANT_S:
            wait = 0.0
        refused = refused or (wait > 0 and not bucket.shadow)
        waits.append(wait)
        before.append(full - now)
        after.append(taken - now if wait == 0 else full - now)
    if refused:
        return verdict(buckets, waits, before)
    for bucket, reset in zip(buckets, after, strict=True):
        full_at[bucket.key] = now + reset
    return verdict(buckets, waits, after)


def verdict(buckets: Sequence[Bucket], waits: Sequence[float], resets: Sequence[float]) -> Taken:
    """From how long each cost had to wait (0: not at all) and how long each bucket then needs until it is full."""
    remaining, reset_s, retry_after_s = math.inf, 0.0, 0.0
    violated: tuple[str, ...] = ()
    would_refuse: tuple[str, ...] = ()
    for bucket, wait, reset in zip(buckets, waits, resets, strict=True):
        if bucket.shadow:
            would_refuse += (bucket.key,) if wait > 0 else ()
            continue
        left = bucket.burst - reset * bucket.rate_per_s
        if left < remaining:
            remaining, reset_s = left, reset
        if wait > 0:
            violated += (bucket.key,)
            retry_after_s = max(retry_after_s, wait)
    whole = max(int(remaining + _ROUNDING), 0) if remaining < math.inf else 0
    return Taken(not violated, whole, reset_s, retry_after_s, violated, would_refuse)
