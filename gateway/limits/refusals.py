"""The errors of limits: which reason, every limit that was violated, and when time heals it.

Pure.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError, QuotaViolation
from gateway.limits.counts import Problem
from gateway.limits.limits import PRIVATE_LEVELS, Applied, Kind, day_of
from gateway.reasons import Reason, reason_name
from gateway.state import Shortage, Taken
from gateway.upstream.amounts import Metric

STORE_RETRY_S: Final = 1.0
UNCOUNTED_RETRY_S: Final = 5.0
_PLACE_RETRY_S: Final = 1.0
_BY_METRIC: Final[Mapping[Metric, Reason]] = {
    Metric.CAPACITY_GIB: errors_pb2.ERROR_REASON_CAPACITY_LIMIT,
    Metric.VAULTS: errors_pb2.ERROR_REASON_RESOURCE_COUNT_LIMIT,
    Metric.POLICIES: errors_pb2.ERROR_REASON_RESOURCE_COUNT_LIMIT,
    Metric.MEMBERS_PER_BACKUP: errors_pb2.ERROR_REASON_RESOURCE_COUNT_LIMIT,
}


def _violation(applied: Applied, description: str, value: int) -> QuotaViolation:
    limit = applied.limit
    # The name of a shared credential is nobody's business; that there is such a limit is.
    private = limit.level in PRIVATE_LEVELS
    subject = f"{limit.level}:{applied.subject}" if private else str(limit.level)
    name = limit.name if private else f"{limit.metric}:{limit.level}"
    dimensions = {"level": str(limit.level)} | (
        {"method_class": str(limit.method_class)} if limit.method_class else {}
    )
    return QuotaViolation(subject, description, name, str(limit.metric), dimensions, value)


def too_fast(taken: Taken, rates: Sequence[Applied]) -> GatewayError:
    """RATE_LIMIT."""
    broken = [applied for applied in rates if applied.key() in taken.violated]
    found = [
        _violation(
            a,
            f"{a.limit.per_second:g} cost units per second, {a.limit.burst:g} at once",
            int(a.limit.burst),
        )
        for a in broken
    ]
    wait_s = taken.retry_after_s if math.isfinite(taken.retry_after_s) else None
    text = f"Calls come too fast: {found[0].rule} allows {found[0].description}."
    return GatewayError(
        errors_pb2.ERROR_REASON_RATE_LIMIT, text, violations=found, retry_after_s=wait_s
    )


def too_many(shortages: Sequence[Shortage], slots: Sequence[Applied]) -> GatewayError:
    """CONCURRENCY_LIMIT or STREAM_LIMIT."""
    by_key = {applied.key(): applied for applied in slots}
    found = [
        _violation(by_key[s.key], f"{s.used} of {s.limit} in flight", s.limit) for s in shortages
    ]
    what, reason = "changes are in flight", errors_pb2.ERROR_REASON_CONCURRENCY_LIMIT
    if by_key[shortages[0].key].limit.metric is Metric.OPEN_STREAMS:
        what, reason = "streams are open", errors_pb2.ERROR_REASON_STREAM_LIMIT
    text = f"Too many {what}: {found[0].rule} has {found[0].description}."
    return GatewayError(reason, text, violations=found, retry_after_s=_PLACE_RETRY_S)


def too_much(
    shortages: Sequence[Shortage], charged: Mapping[str, Applied], now: float
) -> GatewayError:
    """CAPACITY_LIMIT, RESOURCE_COUNT_LIMIT or VOLUME_LIMIT: the one that time heals least.

    `charged`: what each counter belongs to.
    """
    pairs = [(shortage, charged[shortage.key]) for shortage in shortages]
    found = [
        _violation(
            a, f"{s.used} used, {s.reserved} reserved, {s.asked} asked, {s.limit} allowed", s.limit
        )
        for s, a in pairs
    ]
    text = f"The limit {found[0].rule} does not allow it: {found[0].description}."
    reasons = {
        _BY_METRIC.get(a.limit.metric, errors_pb2.ERROR_REASON_VOLUME_LIMIT) for _, a in pairs
    }
    reason = next(
        (r for r in dict.fromkeys(_BY_METRIC.values()) if r in reasons),
        errors_pb2.ERROR_REASON_VOLUME_LIMIT,
    )
    heals = reason == errors_pb2.ERROR_REASON_VOLUME_LIMIT and all(
        s.asked <= s.limit for s in shortages
    )
    return GatewayError(
        reason, text, violations=found, retry_after_s=day_of(now)[1] - now if heals else None
    )


def grows_alone(applied: Applied) -> GatewayError:
    """CAPACITY_LIMIT for `auto_expand`."""
    text = (
        "vault.auto_expand: a vault that grows by itself cannot be kept within a capacity limit;"
        " leave auto_expand out, and update the size."
    )
    found = _violation(applied, "auto_expand is not allowed under this limit", applied.limit.value)
    return GatewayError(
        errors_pb2.ERROR_REASON_CAPACITY_LIMIT,
        text,
        violations=(found,),
        metadata={"field": "vault.auto_expand"},
    )


def store_down(why: str) -> GatewayError:
    """QUOTA_STORE_DOWN."""
    return GatewayError(
        errors_pb2.ERROR_REASON_QUOTA_STORE_DOWN,
        f"{why} Nothing was sent; repeat later.",
        retry_after_s=STORE_RETRY_S,
    )


def data_lost(left_s: float) -> GatewayError:
    """QUOTA_STORE_DOWN until all that was sent before must show in CBR."""
    text = (
        "The store of quotas lost its data, or is new. What was sent to CBR before may not show"
        f" there yet: what a limit counts may grow again in {math.ceil(left_s)} s (quota.settle_s),"
        " and is counted then. Nothing was sent; repeat later."
    )
    return GatewayError(
        errors_pb2.ERROR_REASON_QUOTA_STORE_DOWN,
        text,
        retry_after_s=max(left_s, STORE_RETRY_S),
        metadata={"cause": "DATA_LOST"},
    )


def uncounted(problem: Problem) -> GatewayError:
    """QUOTA_STORE_DOWN for the owner of a project that cannot be counted."""
    since = datetime.fromtimestamp(problem.since, UTC).isoformat(timespec="seconds")
    text = (
        f"What exists in project {problem.project} cannot be counted since {since}, so that nothing"
        f" that a limit counts may grow there. {problem.message} Nothing was sent."
    )
    known = {"cause": reason_name(problem.reason), "since": since, "project": problem.project}
    return GatewayError(
        errors_pb2.ERROR_REASON_QUOTA_STORE_DOWN,
        text,
        retry_after_s=UNCOUNTED_RETRY_S,
        metadata=known,
    )


def enforced(applied: Sequence[Applied], kind: Kind) -> list[Applied]:
    return [a for a in applied if a.limit.kind is kind and not a.limit.shadow]
