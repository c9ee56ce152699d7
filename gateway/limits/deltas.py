"""What a change asks for: the amounts by which it grows, or shrinks, what is limited. Pure."""

from collections.abc import Sequence

from google.protobuf.message import Message

from gateway.limits.limits import COUNTED, Applied, Kind, Limits, Scope, day_of, project_count
from gateway.state import Charge
from gateway.upstream.amounts import ResourceDelta
from gateway.upstream.declaration import Binding, RetryClass
from gateway.upstream.traits import AnyObjectRead


def deltas(binding: Binding, request: Message, current: Message | None) -> Sequence[ResourceDelta]:
    """Empty for everything that no limit could count.

    `current`: the object that is read first; None: not found, or not needed.
    """
    rule = binding.traits.deltas
    return rule(request, current) if rule else ()


def read_first(binding: Binding, limits: Limits, scope: Scope) -> AnyObjectRead | None:
    """The read to make before the deltas can be told; None for none."""
    first = binding.traits.read_first
    return (
        first.shown_by
        if first and any(limits.applied(metric, scope) for metric in first.metrics)
        else None
    )


def gives_back(binding: Binding) -> bool:
    """Whether something that is counted is no longer there after the change."""
    return binding.retry_class is RetryClass.DELETE and binding.traits.deltas is not None


def priced(
    wanted: Sequence[ResourceDelta], limits: Limits, scope: Scope, now: float
) -> list[tuple[Charge, Applied]]:
    """One charge for each limit that growth meets, with that limit. `now`: seconds since 1970."""
    day, ends = day_of(now)
    found = []
    for demand in (d for d in wanted if d.amount > 0):
        for applied in limits.applied(demand.metric, scope):
            limit = applied.limit
            daily = limit.kind is Kind.VOLUME
            key = applied.key(day if daily else demand.part)
            found.append(
                (
                    Charge(key, demand.amount, limit.value, limit.shadow, ends if daily else None),
                    applied,
                )
            )
    return found


def charges_of(
    wanted: Sequence[ResourceDelta], priced_by: Sequence[tuple[Charge, Applied]], scope: Scope
) -> tuple[Charge, ...]:
    """What the operation charges: what limits ask for, and the counts of its project, which also
    later limits rest on.
    """
    found = {charge.key: charge for charge, _ in priced_by}
    for demand in wanted:
        if demand.amount > 0 and demand.metric in COUNTED:
            key = project_count(demand.metric, scope.project)
            found.setdefault(key, Charge(key, demand.amount, None))
    return tuple(found.values())


def credits_of(wanted: Sequence[ResourceDelta], limits: Limits, scope: Scope) -> dict[str, int]:
    """Counter -> what comes back once the object is gone."""
    found: dict[str, int] = {}
    for demand in wanted:
        if demand.amount < 0:
            keys = [applied.key() for applied in limits.applied(demand.metric, scope)]
            # Without a limit nobody waits for it, and a recount comes before there is one.
            found |= dict.fromkeys(
                [project_count(demand.metric, scope.project), *keys] if keys else (), demand.amount
            )
    return found


def expands_itself(binding: Binding, request: Message) -> bool:
    """Whether the vault would grow without asking, so that no limit on capacity could hold."""
    rule = binding.traits.expands
    return rule is not None and rule(request)


def created_id(binding: Binding, response: Message) -> str:
    """The id of what a change created; empty when it created nothing."""
    rule = binding.traits.created_id
    return rule(response) if rule else ""
