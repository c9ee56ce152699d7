"""What of the store belongs to the limits in force (counters, buckets, leases), for those who look
at their use.
"""

from collections.abc import Sequence
from typing import Final

from gateway.limits.limits import Applied, Kind, Level, Limits, MethodClass, Scope
from gateway.upstream.amounts import Metric

_FLOWING: Final = frozenset({Kind.RATE, Kind.CONCURRENCY})
_COUNTED: Final = frozenset({Kind.STOCK, Kind.VOLUME})


def counted(limits: Limits, scopes: Sequence[Scope], day: str) -> dict[str, Applied]:
    """Of every limit that counts what exists, or a day; without those of members, which each backup
    has for itself, and of principals, whom no configuration lists.
    """
    found: dict[str, Applied] = {}
    for metric in Metric:
        if metric is Metric.MEMBERS_PER_BACKUP:
            continue
        for scope in scopes:
            for applied in limits.applied(metric, scope):
                limit = applied.limit
                if limit.kind in _COUNTED and limit.level is not Level.PRINCIPAL:
                    found[applied.key(day if limit.kind is Kind.VOLUME else "")] = applied
    return found


def flowing(limits: Limits, scopes: Sequence[Scope]) -> dict[str, Applied]:
    """The buckets and leases of every limit on rates and concurrency; without those of principals,
    as above.
    """
    found: dict[str, Applied] = {}
    for metric in Metric:
        for scope in scopes:
            for calls in (None, *MethodClass):
                for applied in limits.applied(metric, scope, calls):
                    limit = applied.limit
                    if limit.kind in _FLOWING and limit.level is not Level.PRINCIPAL:
                        found[applied.key()] = applied
    return found
