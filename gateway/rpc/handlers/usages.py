"""How much of each limit is used, as callers are told it: ListUsages and GetCaller."""

from collections.abc import Iterator
from dataclasses import dataclass

from cbrgateway.v1 import quota_pb2

from gateway.clock import Clock, moment
from gateway.limits.limits import PRIVATE_LEVELS, Applied, Kind, Limit, Scope, day_of
from gateway.limits.pricing import Pricer
from gateway.limits.recount import Recounter
from gateway.rpc.call import Call
from gateway.state import Usage
from gateway.upstream.amounts import Metric


def administers(call: Call) -> bool:
    return call.principal is not None and call.principal.grant.role == "administrator"


@dataclass(frozen=True, slots=True)
class Usages:
    """One per process."""

    pricer: Pricer
    clock: Clock

    async def of(self, scope: Scope, *, shared: bool) -> list[quota_pb2.QuotaUsage]:
        """What is used of the limits that a caller meets; with `shared`, also of those that it
        shares with other tenants. Raises StoreDown.
        """
        keys = dict(self._counted(scope, shared=shared))
        found = await self.pricer.counters.usage(list(keys))
        return [
            _with_state(usage_of(key, applied.limit, found[key]), self.pricer.recounter)
            for key, applied in sorted(keys.items())
        ]

    def _counted(self, scope: Scope, *, shared: bool) -> Iterator[tuple[str, Applied]]:
        day, _ = day_of(self.clock.time())
        for metric in Metric:
            if metric is Metric.MEMBERS_PER_BACKUP:
                continue
            for applied in self.pricer.overrides.limits.applied(metric, scope):
                kind = applied.limit.kind
                if kind in {Kind.STOCK, Kind.VOLUME} and (
                    shared or applied.limit.level in PRIVATE_LEVELS
                ):
                    yield applied.key(day if kind is Kind.VOLUME else ""), applied


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
