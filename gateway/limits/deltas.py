"""What a change asks for: the amounts by which it grows, or shrinks, what is limited. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from gateway.limits.limits import COUNTED, Applied, Kind, Limits, Metric, Scope, day_of, project_count
from gateway.state import Charge


@dataclass(frozen=True, slots=True)
class ResourceDelta:
    """An amount of one metric, negative for what is given back. `part`: the backup that members are counted for."""

    metric: Metric
    amount: int
    part: str = ""


Rule = Callable[[Any, Any], Sequence[ResourceDelta]]
"""Request and current object (None: not found, or not needed) -> deltas."""


def _new_vault(request: Any, _current: Any) -> Sequence[ResourceDelta]:  # noqa: ANN401 - one concrete message each
    size = request.vault.billing.size_gib
    return ResourceDelta(Metric.VAULTS, 1), ResourceDelta(Metric.CAPACITY_GIB, size), ResourceDelta(Metric.GROWTH_GIB_PER_DAY, size)


def _resized(request: Any, current: Any) -> Sequence[ResourceDelta]:  # noqa: ANN401
    size = size_of(request)
    if current is None or size is None:
        return ()
    grown = size - current.vault.billing.size_gib
    # A smaller size is left to the next recount: two changes at once could give the same room back twice.
    return (ResourceDelta(Metric.CAPACITY_GIB, grown), ResourceDelta(Metric.GROWTH_GIB_PER_DAY, grown)) if grown > 0 else ()


def _deleted_vault(_request: Any, current: Any) -> Sequence[ResourceDelta]:  # noqa: ANN401
    if current is None:
        return ()
    return ResourceDelta(Metric.VAULTS, -1), ResourceDelta(Metric.CAPACITY_GIB, -current.vault.billing.size_gib)


def _members(request: Any, _current: Any) -> Sequence[ResourceDelta]:  # noqa: ANN401
    return (ResourceDelta(Metric.MEMBERS_PER_BACKUP, len(request.project_ids) + len(request.domains), request.backup_id),)


def _one(metric: Metric, amount: int = 1) -> Rule:
    return lambda _request, _current: (ResourceDelta(metric, amount),)


RULES: Final[Mapping[str, Rule]] = {
    "VaultService/CreateVault": _new_vault,
    "VaultService/OrderVault": _new_vault,
    "VaultService/UpdateVault": _resized,
    "OrderService/ChangeOrder": _resized,
    "OrderService/UpdateOrder": _resized,
    "VaultService/DeleteVault": _deleted_vault,
    "PolicyService/CreatePolicy": _one(Metric.POLICIES),
    "PolicyService/DeletePolicy": _one(Metric.POLICIES, -1),
    "BackupShareService/AddBackupMembers": _members,
    "CheckpointService/CreateCheckpoint": _one(Metric.CHECKPOINTS_PER_DAY),
    "CheckpointService/ReplicateCheckpoint": _one(Metric.REPLICATIONS_PER_DAY),
    "BackupService/ReplicateBackup": _one(Metric.REPLICATIONS_PER_DAY),
}

GIVES_BACK: Final = frozenset({"VaultService/DeleteVault", "PolicyService/DeletePolicy"})
"""RPCs after which something is no longer there."""

_SIZES: Final = frozenset({Metric.CAPACITY_GIB, Metric.GROWTH_GIB_PER_DAY})
READ_FIRST: Final[Mapping[str, tuple[str, frozenset[Metric]]]] = {
    "VaultService/UpdateVault": ("VaultService/GetVault", _SIZES),
    "OrderService/ChangeOrder": ("VaultService/GetVault", _SIZES),
    "OrderService/UpdateOrder": ("VaultService/GetVault", _SIZES),
    "VaultService/DeleteVault": ("VaultService/GetVault", frozenset({Metric.VAULTS, Metric.CAPACITY_GIB})),
    "BackupShareService/AddBackupMembers": ("BackupShareService/ListBackupMembers", frozenset({Metric.MEMBERS_PER_BACKUP})),
}
"""RPC -> the read that shows the current object, needed only where a limit of one of the metrics applies."""


def deltas(rpc: str, request: Message, current: Message | None) -> Sequence[ResourceDelta]:
    """Empty for everything that no limit could count."""
    rule = RULES.get(rpc)
    return rule(request, current) if rule else ()


def read_first(rpc: str, limits: Limits, scope: Scope) -> str:
    """The read to make before the deltas can be told; empty for none."""
    read, metrics = READ_FIRST.get(rpc, ("", frozenset()))
    return read if any(limits.applied(metric, scope) for metric in metrics) else ""


def vault_of(request: Any) -> str:  # noqa: ANN401 - the request of a change that changes a vault
    """The id of the vault whose size the deltas depend on."""
    return str(request.resource_id if "resource_id" in request.DESCRIPTOR.fields_by_name else request.vault_id)


def size_of(request: Any) -> int | None:  # noqa: ANN401 - as above
    """The size that the change gives its vault; None: it leaves the size as it is."""
    if "product_info" in request.DESCRIPTOR.fields_by_name:
        return int(request.product_info.resource_size_gib)
    billing = request.vault.billing
    return int(billing.size_gib) if billing.HasField("size_gib") else None


def priced(wanted: Sequence[ResourceDelta], limits: Limits, scope: Scope, now: float) -> list[tuple[Charge, Applied]]:
    """One charge for each limit that growth meets, with that limit. `now`: seconds since 1970."""
    day, ends = day_of(now)
    found = []
    for demand in (d for d in wanted if d.amount > 0):
        for applied in limits.applied(demand.metric, scope):
            limit = applied.limit
            daily = limit.kind is Kind.VOLUME
            key = applied.key(day if daily else demand.part)
            found.append((Charge(key, demand.amount, limit.value, limit.shadow, ends if daily else None), applied))
    return found


def charges_of(wanted: Sequence[ResourceDelta], priced_by: Sequence[tuple[Charge, Applied]], scope: Scope) -> tuple[Charge, ...]:
    """What the operation charges: what limits ask for, and the counts of its project, which also later limits rest on."""
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
            found |= dict.fromkeys([project_count(demand.metric, scope.project), *keys] if keys else (), demand.amount)
    return found


def expands_itself(rpc: str, request: Any) -> bool:  # noqa: ANN401 - any request
    """Whether the vault would grow without asking, so that no limit on capacity could hold."""
    return rpc in {"VaultService/CreateVault", "VaultService/OrderVault", "VaultService/UpdateVault"} and bool(request.vault.auto_expand)


def created_id(message: Any) -> str:  # noqa: ANN401 - the response of any change
    """The id of what a change created; empty when it created nothing."""
    fields = message.DESCRIPTOR.fields_by_name
    if not message.DESCRIPTOR.name.startswith(("Create", "Order")):
        return ""
    if "vault" in fields and message.HasField("vault"):
        return str(message.vault.id)
    if "policy" in fields:
        return str(message.policy.id)
    return str(message.orders[0].resource_id) if "orders" in fields and message.orders else ""
