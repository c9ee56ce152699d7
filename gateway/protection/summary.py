"""The numbers of a project's resources, by vault and type. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from cbrgateway.v1 import protection_pb2, types_pb2
from msgspec import Struct

from gateway.clock import moment
from gateway.protection.standing import FAILED, SKIPPED, Resource, Standing, done_at, seconds
from gateway.protection.unprotected import DAY_S, TELLING, causes


class Period(Struct, frozen=True):
    """`now` in seconds since 1970; as long before it is counted, and as long after it."""

    now: float
    length_s: float
    oldest: float

    @property
    def start(self) -> float:
        return self.now - self.length_s


def groups(standing: Standing, period: Period) -> list[protection_pb2.ProtectionGroup]:
    """The groups of a project."""
    members: dict[tuple[str, int], list[Resource]] = defaultdict(list)
    for resource in standing.resources:
        vault = resource.vault.id if resource.vault is not None else ""
        members[vault, resource.kind].append(resource)
    vaults = {vault.id: vault for vault in standing.vaults}
    # A vault without resources has a capacity, too.
    for vault_id in vaults.keys() - {vault for vault, _ in members}:
        members[vault_id, 0] = []
    ended = Counter(
        (task.details.resource.id, task.status)
        for task in standing.view.rows("tasks")
        if seconds(task.create_time) >= period.start
    )
    return [
        _group(standing, period, (vaults.get(vault_id), kind), some, ended)
        for (vault_id, kind), some in sorted(members.items())
    ]


def _group(
    standing: Standing,
    period: Period,
    of: tuple[types_pb2.Vault | None, int],
    some: Sequence[Resource],
    ended: Counter[tuple[str, int]],
) -> protection_pb2.ProtectionGroup:
    vault, kind = of
    ids = [resource.shown.id for resource in some]
    fine = sum(not causes(standing, each, period.oldest) for each in some)
    can_tell = standing.view.lists.keys() >= TELLING
    backups = [backup for each in ids for backup in standing.backups.get(each, ())]
    counts = protection_pb2.ProtectionCounts(
        resources=len(some),
        protected=fine if can_tell else 0,
        unknown=0 if can_tell else fine,
        failures=sum(ended[each, status] for each in ids for status in FAILED),
        skipped=sum(ended[each, status] for each in ids for status in SKIPPED),
        backups_made=sum(done_at(each) >= period.start for each in backups),
        backups_expiring=sum(
            each.HasField("expire_time")
            and seconds(each.expire_time) <= period.now + period.length_s
            for each in backups
        ),
    )
    successes = [standing.last_success(each) for each in ids]
    known = [each for each in successes if each is not None]
    if known and len(known) == len(successes):
        counts.oldest_last_success_time.CopyFrom(moment(min(known)))
    if vault is not None:
        _add_capacity(counts, vault, period.length_s / DAY_S)
    return protection_pb2.ProtectionGroup(
        project=standing.view.ref.project,
        region=standing.view.ref.region,
        vault_id=vault.id if vault is not None else "",
        vault_name=vault.name if vault is not None else "",
        type=kind,  # type: ignore[arg-type]
        counts=counts,
    )


def _add_capacity(
    counts: protection_pb2.ProtectionCounts, vault: types_pb2.Vault, days: float
) -> None:
    counts.size_gib, counts.used_mib = vault.billing.size_gib, vault.billing.used_mib
    change = counts.backups_made - counts.backups_expiring
    if held := sum(resource.backup_count for resource in vault.resources):
        counts.trend_mib_per_day = round(vault.billing.used_mib / held * change / days)


_SUMMED: Final = (
    "resources",
    "protected",
    "unknown",
    "failures",
    "skipped",
    "backups_made",
    "backups_expiring",
)


def total(found: Iterable[protection_pb2.ProtectionGroup]) -> protection_pb2.ProtectionCounts:
    """The sum; the capacity of each vault once."""
    counts = protection_pb2.ProtectionCounts()
    seen, oldest, every = set(), None, True
    for group in found:
        for name in _SUMMED:
            setattr(counts, name, getattr(counts, name) + getattr(group.counts, name))
        counts.trend_mib_per_day += group.counts.trend_mib_per_day
        if (group.project, group.vault_id) not in seen:
            seen.add((group.project, group.vault_id))
            counts.size_gib += group.counts.size_gib
            counts.used_mib += group.counts.used_mib
        if group.counts.resources:
            if not group.counts.HasField("oldest_last_success_time"):
                every = False
            else:
                at = seconds(group.counts.oldest_last_success_time)
                oldest = at if oldest is None else min(oldest, at)
    if every and oldest is not None:
        counts.oldest_last_success_time.CopyFrom(moment(oldest))
    return counts
