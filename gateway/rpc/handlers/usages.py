"""How much of each limit is used, as callers are told it: ListUsages and GetCaller."""

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from cbrgateway.v1 import quota_pb2
from msgspec import Struct

from gateway.clock import Clock, moment
from gateway.limits.limits import (
    PRIVATE_LEVELS,
    Applied,
    Kind,
    Limit,
    MethodClass,
    Scope,
    day_of,
)
from gateway.limits.pricing import Pricer
from gateway.limits.recount import Recounter
from gateway.rpc.call import Call
from gateway.state import Leases, RateLimiter, Usage
from gateway.upstream.amounts import Metric

_AT_ONCE: Final = 50
"""Callers whose limits are worked out before others get their turn."""


def administers(call: Call) -> bool:
    return call.principal is not None and call.principal.grant.role == "administrator"


class Usages(Struct, frozen=True):
    """One per process."""

    pricer: Pricer
    rates: RateLimiter
    leases: Leases
    clock: Clock

    async def of(self, scopes: Iterable[Scope], *, shared: bool) -> list[quota_pb2.QuotaUsage]:
        """What is used of the limits that callers meet; with `shared`, also of those that they
        share with other tenants. Raises StoreDown.
        """
        keys: dict[str, Applied] = {}
        for number, scope in enumerate(scopes):
            for applied in self._met(scope):
                if shared or applied.limit.level in PRIVATE_LEVELS:
                    keys[self._key(applied)] = applied
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        found = await self._used(keys)
        return [
            _with_state(usage_of(key, applied.limit, found[key]), self.pricer.recounter)
            for key, applied in sorted(keys.items())
        ]

    def _met(self, scope: Scope) -> Iterator[Applied]:
        limits = self.pricer.overrides.limits
        for metric in Metric:
            if metric is Metric.REQUESTS:
                for calls in MethodClass:
                    yield from limits.rates(scope, calls)
            elif metric is not Metric.MEMBERS_PER_BACKUP:
                yield from limits.applied(metric, scope)

    def _key(self, applied: Applied) -> str:
        day, _ = day_of(self.clock.time())
        return applied.key(day if applied.limit.kind is Kind.VOLUME else "")

    async def _used(self, keys: Mapping[str, Applied]) -> Mapping[str, Usage]:
        def of(*kinds: Kind) -> dict[str, Applied]:
            return {key: each for key, each in keys.items() if each.limit.kind in kinds}

        owed = await self.rates.owed([each.bucket(0) for each in of(Kind.RATE).values()])
        held = await self.leases.held(list(of(Kind.CONCURRENCY)))
        counted = await self.pricer.counters.usage(list(of(Kind.STOCK, Kind.VOLUME)))
        return (
            {key: Usage(committed=math.ceil(units)) for key, units in owed.items()}
            | {key: Usage(committed=number) for key, number in held.items()}
            | dict(counted)
        )


def shown(limit: Limit, *, set_while_running: bool = False) -> quota_pb2.Limit:
    shown = quota_pb2.Limit(
        name=limit.name,
        metric=quota_pb2.QuotaMetric.Value(f"QUOTA_METRIC_{limit.metric.upper()}"),
        level=quota_pb2.QuotaLevel.Value(f"QUOTA_LEVEL_{limit.level.upper()}"),
        subject=limit.subject,
        shadow=limit.shadow,
        set_while_running=set_while_running,
    )
    if limit.kind is Kind.RATE:
        shown.per_second, shown.burst = limit.per_second, limit.burst
        if limit.method_class:
            shown.method_class = quota_pb2.MethodClass.Value(
                f"METHOD_CLASS_{limit.method_class.upper()}"
            )
    else:
        shown.value = limit.value
    return shown


def usage_of(key: str, limit: Limit, found: Usage) -> quota_pb2.QuotaUsage:
    usage = quota_pb2.QuotaUsage(
        name=key,
        limit=shown(limit),
        used=found.committed,
        reserved=found.reserved,
        uncertain=found.uncertain,
    )
    if found.counted_at is not None:
        usage.count_time.CopyFrom(moment(found.counted_at))
    return usage


def _with_state(usage: quota_pb2.QuotaUsage, recounter: Recounter) -> quota_pb2.QuotaUsage:
    """With how well it is known how much there is."""
    if usage.name not in recounter.counts.totals:
        return usage
    standing = recounter.standing(usage.name)
    usage.count_state = quota_pb2.COUNT_STATE_COUNTED
    if standing.growth_at is not None:
        usage.count_state = quota_pb2.COUNT_STATE_WAITING
        usage.growth_time.CopyFrom(moment(standing.growth_at))
    elif standing.counting:
        usage.count_state = quota_pb2.COUNT_STATE_COUNTING
    elif standing.problems:
        usage.count_state = quota_pb2.COUNT_STATE_PARTIAL
    for problem, counted_before in standing.problems:
        known = {
            "project": problem.project,
            "reason": problem.reason,
            "message": problem.message,
            "counted_before": counted_before,
        }
        usage.count_problems.add(**known, start_time=moment(problem.since))
    return usage
