"""Which counters of the store belong to the limits in force, for those who look at their use."""

from collections.abc import Sequence
from typing import Final

from gateway.limits.limits import Applied, Kind, Level, Limits, Scope
from gateway.upstream.amounts import Metric

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
