"""What CBR lists of one project, and which of the latest changes that shows already. Pure.

A list may be late: the store counts every change of the last while beside it, unless the change is
among those that are shown here.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Generic, TypeVar

from cbrgateway.v1 import policy_pb2, types_pb2
from msgspec import Struct

from gateway.upstream.amounts import Metric, Resize, Sharing
from gateway.upstream.marker import MARKER

Change = TypeVar("Change", Resize, Sharing)


class Recent(Struct, Generic[Change], frozen=True):
    """A change that was carried out lately."""

    id: str
    change: Change


class Listing(Struct, frozen=True):
    """Vaults and policies as CBR lists them; None: not listed, or not to be listed now."""

    vaults: Sequence[types_pb2.Vault] | None
    policies: Sequence[policy_pb2.Policy] | None

    @property
    def ids(self) -> set[str]:
        return {each.id for listed in (self.vaults, self.policies) for each in listed or ()}

    def knows(self, metric: Metric) -> bool:
        """Whether the amount can be told: of sizes only if every vault shows its own."""
        listed = self.policies if metric is Metric.POLICIES else self.vaults
        return listed is not None and (metric is not Metric.CAPACITY_GIB or not self.without_size())

    def without_size(self) -> list[str]:
        """Ids of vaults whose size is missing or could not be read. No vault has a size of 0."""
        return [vault.id for vault in self.vaults or () if vault.billing.size_gib <= 0]

    def amount(self, metric: Metric, key: str, reserved: Mapping[str, Collection[str]]) -> int:
        """What counts towards a counter, without the vaults for which open operations hold a
        reservation on it. `reserved`: operation -> counters.
        """
        if metric is Metric.POLICIES:
            return len(self.policies or ())
        counted = [
            vault for vault in self.vaults or () if key not in reserved.get(_maker(vault), ())
        ]
        return (
            len(counted)
            if metric is Metric.VAULTS
            else sum(vault.billing.size_gib for vault in counted)
        )

    def shown(self, reserved: Collection[str], recent: Sequence[Recent[Resize]]) -> set[str]:
        """Ids of objects, and of changes, that need not be counted beside the listing: it is none
        of them an open operation's work.
        """
        vaults = [vault for vault in self.vaults or () if _maker(vault) not in reserved]
        makers = {_maker(vault) for vault in vaults} - {""}
        return (
            {vault.id for vault in vaults}
            | {policy.id for policy in self.policies or ()}
            | makers
            | self._resized(recent)
        )

    def _resized(self, recent: Sequence[Recent[Resize]]) -> set[str]:
        """Of one vault's resizes in order: the last whose size it has reached, and all before."""
        sizes = {vault.id: vault.billing.size_gib for vault in self.vaults or ()}
        shown: set[str] = set()
        waiting: dict[str, list[str]] = {}
        for each in recent:
            size, vault_id = each.change.size_gib, each.change.vault_id
            if size is not None and vault_id in sizes:
                waiting.setdefault(vault_id, []).append(each.id)
                if size <= sizes[vault_id]:
                    shown.update(waiting.pop(vault_id))
        return shown


def shared(recent: Sequence[Recent[Sharing]], backup_id: str, members: Collection[str]) -> set[str]:
    """Changes that shared a backup and that its list of members shows, or that were undone."""
    shown, over = set(), set(members)
    for each in reversed(recent):
        change = each.change
        if change.backup_id == backup_id:
            over |= change.removed
            if not (change.removed or change.accounts) and over.issuperset(change.added):
                shown.add(each.id)
    return shown


def _maker(vault: types_pb2.Vault) -> str:
    """The operation that created a vault, by its marker; empty without one."""
    return next((tag.value for tag in vault.tags if tag.key == MARKER), "")
