"""What keeps limits and carries changes out: the parts, joined, and what a reload changes."""

from collections.abc import Callable

from gateway.changes.dry_run import DryRun
from gateway.changes.freed import Freed
from gateway.changes.guards import Guards
from gateway.changes.ledger import AnyOperation, Ending, Ledger
from gateway.changes.named_tasks import NamedTasks
from gateway.changes.outcome_search import OutcomeSearch
from gateway.changes.planning import Planner
from gateway.changes.preconditions import Preconditions
from gateway.changes.record import request_of
from gateway.changes.recovery import REFRESH_S, Recovery
from gateway.changes.repeats import Repeats
from gateway.changes.room import Room
from gateway.changes.runner import ChangeRunner
from gateway.changes.settling import Settling
from gateway.changes.submissions import Submissions
from gateway.config import Config
from gateway.limits.admission import Admission
from gateway.limits.known_counts import KnownCounts
from gateway.limits.late_changes import LateChanges
from gateway.limits.limits import Level, Limits, Scope
from gateway.limits.lists import Lists
from gateway.limits.overrides import LimitOverrides
from gateway.limits.pricing import Pricer
from gateway.limits.recount import Recounter
from gateway.limits.slots import SlotRenewals
from gateway.limits.store_life import StoreLife
from gateway.state import Store
from gateway.upstream.client import Client


class Quota:
    """One per process.

    `on_end` hears of each change that is settled, `on_mark_removal` when the gateway takes its own
    tag off a vault.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        submissions: Submissions,
        client: Client,
        *,
        on_end: Callable[[AnyOperation, Ending], None],
        on_mark_removal: Callable[[str, str, str, str], None],
    ) -> None:
        self._config, self._store, self._client = config, store, client
        self._reader, self._clock = submissions.reader, submissions.clock
        self.submissions = submissions
        self.scopes, self._tenants = _scopes(config), config.tenants
        self._overrides = LimitOverrides(Limits(config.all_limits()), store.overrides)
        self._ledger = Ledger(
            store.operations, store.counters, on_end, self._clock, config.quota.settle_s
        )
        self._recounter = self._recounting()
        self._overrides.subscribe(self._recounter.forget)
        self._tasks = NamedTasks()
        self.renewals = SlotRenewals(store.leases, self._clock)
        self.admission = Admission(store.rates, store.leases, self._overrides, self.renewals)
        self.pricer = Pricer(
            self._overrides, store.counters, self._recounter, self._reader, self._clock
        )
        self.outcomes = self._outcome_search()
        self.recovery = self._recovery()
        self.changes = self._runner(Room(store.operations, self._reader, client, on_mark_removal))
        self.dry_run = DryRun(
            self.pricer,
            self.changes.planner,
            self.changes.preconditions,
            client,
            self._reader,
            self._clock,
        )

    def _recounting(self) -> Recounter:
        settings, store, catalog = self._config.quota, self._store, self._reader.catalog
        life, lists = self._store_life(), Lists(self._reader, self._clock)
        return Recounter(
            life=life,
            counters=store.counters,
            operations=store.operations,
            reader=self._reader,
            lists=lists,
            clock=self._clock,
            scopes=lambda: self.scopes,
            limits=lambda: self._overrides.limits,
            assumed=settings.assumed,
            late=LateChanges(
                store.operations,
                catalog,
                lambda op: request_of(op, catalog),
                settings.settle_s,
                self._clock,
            ),
            known=KnownCounts(life, store.counters, lists.problems),
        )

    def _store_life(self) -> StoreLife:
        return StoreLife(
            data=self._store.life,
            clock=self._clock,
            settle_s=self._config.quota.settle_s,
            restore=self._ledger.restore,
            process=self.submissions.heartbeat.owner,
            # A look at the store that fails takes its time, too; the rest is for machines that are
            # busy.
            notice_s=5 * REFRESH_S + self._config.state.answer_timeout_s,
        )

    def _outcome_search(self) -> OutcomeSearch:
        return OutcomeSearch(
            operations=self._store.operations,
            ledger=self._ledger,
            recounter=self._recounter,
            submissions=self.submissions,
            reader=self._reader,
            clock=self._clock,
            settings=self._config.quota,
            tasks=self._tasks,
        )

    def _recovery(self) -> Recovery:
        return Recovery(
            operations=self._store.operations,
            ledger=self._ledger,
            recounter=self._recounter,
            overrides=self._overrides,
            outcomes=self.outcomes,
            clock=self._clock,
            clocks=self._client.times,
            settings=self._config.quota,
            heartbeat=self.submissions.heartbeat,
            tasks=self._tasks,
        )

    def _runner(self, room: Room) -> ChangeRunner:
        return ChangeRunner(
            pricer=self.pricer,
            planner=self._planner(),
            ledger=self._ledger,
            settling=self._settling(),
            repeats=Repeats(self._store.operations, self.outcomes),
            operations=self._store.operations,
            recounter=self._recounter,
            client=self._client,
            clock=self._clock,
            room=room,
            preconditions=Preconditions(self._reader, Guards(self._reader)),
        )

    def _planner(self) -> Planner:
        return Planner(
            reader=self._reader,
            clock=self._clock,
            heartbeat=self.submissions.heartbeat,
            remote_clock=self._client.remote_clock,
            markers=self._config.quota.markers,
            recovers=self._config.quota.recovery,
            correlates=self._config.tasks.correlate,
        )

    def _settling(self) -> Settling:
        return Settling(
            ledger=self._ledger,
            recounter=self._recounter,
            outcomes=self.outcomes,
            freed=Freed(
                self._store.counters,
                self._reader,
                self._clock,
                self._tasks,
                self._recounter.again,
            ),
            heartbeat=self.submissions.heartbeat,
            submissions=self.submissions,
        )

    def is_under_way(self, op_id: str) -> bool:
        """Whether this process has begun an operation whose end it, or the store, does not know."""
        return op_id in self._ledger.under_way or op_id in self._ledger.owed

    def tenant_of(self, project: str) -> str:
        """Who has a project; empty for one that is not served any more."""
        return next((scope.tenant for scope in self.scopes if scope.project == project), "")

    def subjects(self, level: Level) -> set[str]:
        """Whom a limit of the level can be for."""
        tenants = self._tenants
        if level is Level.ACCOUNT:
            return {project.credential for tenant in tenants for project in tenant.projects}
        return {subject for tenant in tenants for subject in tenant.subjects(level)}

    def in_force(self) -> tuple[Limits, list[Scope]]:
        """The limits, and whose they are."""
        return self._overrides.limits, self.scopes

    def take_over(self, config: Config) -> None:
        """After a reload: other tenants, projects and limits of tenants."""
        self.scopes, self._tenants = _scopes(config), config.tenants
        self._overrides.configure(Limits(config.all_limits()))


def _scopes(config: Config) -> list[Scope]:
    """Whose limits a project's contents count towards."""
    return [
        Scope(project.credential, tenant.id, project.key, "")
        for tenant in config.tenants
        for project in tenant.projects
    ]
