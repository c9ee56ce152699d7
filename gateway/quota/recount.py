"""Sets counters of what exists to what CBR lists. A limit on such a counter refuses all growth until it was counted once.

The marker on a vault tells which open operation created it: what that operation holds is still counted as reserved, so the vault is left out of the
listing's count and its id out of those seen; the store adds it again when the operation ends. A counter that the operation does not know, since its
limit is newer, counts the vault at once.
"""

import asyncio
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from gateway import failpoint
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.quota.ledger import Ledger
from gateway.quota.limits import Limits, Metric, Scope
from gateway.quota.marking import MARKER
from gateway.state import State, Store
from gateway.tasks.truth import Truth

_OPEN: Final = (State.RESERVED, State.SENT, State.UNKNOWN)

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Project:
    """What a listing shows of one project."""

    vaults: Sequence[Any]
    policies: Sequence[Any]

    def amount(self, metric: Metric, key: str, reserved: Mapping[str, Collection[str]]) -> int:
        """What counts towards a counter, without the vaults for which open operations hold a reservation on it. `reserved`: operation -> counters."""
        if metric is Metric.POLICIES:
            return len(self.policies)
        counted = [vault for vault in self.vaults if key not in reserved.get(_maker(vault), ())]
        return len(counted) if metric is Metric.VAULTS else sum(vault.billing.size_gib for vault in counted)

    def ids(self, reserved: Collection[str]) -> set[str]:
        """What is not the work of an open operation."""
        return {vault.id for vault in self.vaults if _maker(vault) not in reserved} | {policy.id for policy in self.policies}


@dataclass(slots=True)
class Recounter:
    """One per process. `scopes`: one for each project that the gateway serves."""

    store: Store
    ledger: Ledger
    truth: Truth
    clock: Clock
    scopes: Callable[[], Sequence[Scope]]
    limits: Callable[[], Limits]
    notice_s: float
    """After the store lost its data: by then every gateway has told it anew what is on its way, and CBR may be counted."""
    counted: set[str] = field(default_factory=set)
    """Counters that are known to be complete."""
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a recount should not wait for its time."""
    _epoch: str = ""
    _count_from: float = -math.inf
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _noticing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def soon(self) -> None:
        self.wanted.set()

    def forget(self, limits: Limits) -> None:
        """After a change of limits: a counter that no limit asked for until now was not kept, and has to be counted first."""
        self.counted &= {key for keys in limits.stock(self.scopes()).values() for key in keys}
        self.soon()

    async def ensure(self, keys: Collection[str], time_left_s: float) -> bool:
        """Waits until the counters are complete; False when they are not within the time. Raises StoreDown."""
        await self.check_epoch()
        if self.counted.issuperset(keys):
            return True
        if self.clock.monotonic() < self._count_from:
            return False
        try:
            async with asyncio.timeout(max(time_left_s, 0)):
                async with self._lock:
                    if not self.counted.issuperset(keys):
                        await self._count()
        except TimeoutError:
            return False
        return self.counted.issuperset(keys)

    async def run(self) -> None:
        """Counts everything that a limit is on. Raises StoreDown; a project that cannot be read is logged and left as it was."""
        self.wanted.clear()
        await self.check_epoch()
        await self.clock.sleep(max(0, self._count_from - self.clock.monotonic()))
        async with self._lock:
            await self._count()

    async def check_epoch(self) -> None:
        """A store that lost its data has to be counted anew. Raises StoreDown."""
        epoch = await self.store.epoch()
        if epoch == self._epoch:
            return
        self.counted.clear()
        async with self._noticing:
            if epoch == self._epoch:
                return
            if self._epoch:
                log.error("the store lost its data; growth waits for a recount")
                self._count_from = self.clock.monotonic() + self.notice_s
                await self.ledger.restore()
            self._epoch = epoch

    async def members(self, applied_keys: Collection[str], backup_id: str, project: str) -> None:
        """Counts the members of one backup. Raises GatewayError or StoreDown."""
        fence = await self.store.fence()
        rows = await self.truth.rows("BackupShareService/ListBackupMembers", project, "members", backup_id=backup_id)
        await self.store.recount(dict.fromkeys(applied_keys, len(rows)), fence, ())

    async def _count(self) -> None:
        by_metric = self.limits().stock(self.scopes())
        if not any(by_metric.values()):
            return
        fence = await self.store.fence()
        failpoint.reach("after_fence")
        needed = {scope.project for keys in by_metric.values() for scopes in keys.values() for scope in scopes}
        listed = await self._listed(needed, policies=bool(by_metric[Metric.POLICIES]))
        reserved = {op.id: {key for key, _ in op.charges} for op in await self.store.operations(None, _OPEN)}
        counts = {
            key: sum(listed[scope.project].amount(metric, key, reserved) for scope in scopes)
            for metric, keys in by_metric.items()
            for key, scopes in keys.items()
            if all(scope.project in listed for scope in scopes)
        }
        seen = {known for project in listed.values() for known in project.ids(reserved)}
        failpoint.reach("after_listing")
        await self.store.recount(counts, fence, seen)
        failpoint.reach("after_recount")
        self.counted |= counts.keys()

    async def _listed(self, projects: Collection[str], *, policies: bool) -> Mapping[str, _Project]:
        found = {}
        for project in sorted(projects):
            try:
                vaults = await self.truth.rows("VaultService/ListVaults", project, "vaults")
                listed = await self.truth.rows("PolicyService/ListPolicies", project, "policies") if policies else []
            except GatewayError as error:
                log.warning("a project cannot be counted now", project=project, error=str(error))
            else:
                found[project] = _Project(vaults, listed)
        return found


def _maker(vault: Any) -> str:  # noqa: ANN401 - a vault
    """The operation that created a vault, by its marker; empty without one."""
    return next((tag.value for tag in vault.tags if tag.key == MARKER), "")
