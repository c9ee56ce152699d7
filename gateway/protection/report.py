"""What became of the backups of each resource of a project in a period. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

from cbrgateway.v1 import errors_pb2, protection_pb2, task_pb2, types_pb2
from msgspec import Struct, field

from gateway.clock import moment
from gateway.protection.fleet import View
from gateway.protection.standing import FAILED, SKIPPED, Standing, done_at, ended_at, seconds
from gateway.schedules.missed import EARLY_S
from gateway.schedules.plans import Plan, plans_of

_SHOWN_TIMES: Final = 100
_SHOWN_IDS: Final = 400


class Period(Struct, frozen=True):
    """In seconds since 1970. `now`: what is due after it cannot be missed yet. `grace_s`: how long
    after its time, and its start window, a run may come.
    """

    start: float
    end: float
    now: float
    rpo_s: float
    grace_s: float


class ProjectReport(Struct, eq=False, dict=True):
    """Of one project. `records`: ids of audit records by task."""

    view: View
    period: Period
    records: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unclear: list[str] = field(default_factory=list)
    """Policies whose times cannot be understood."""

    @cached_property
    def rows(self) -> list[protection_pb2.ReportRow]:
        """By id of the resource."""
        if not all(map(self.view.knows, ("vaults", "policies", "backups", "tasks"))):
            # Without all of them a row would tell of less than there was.
            return []
        bound = sorted(self._standing.bound.items())
        return [self._row(vault, resource) for _, (vault, resource) in bound]

    def coverage(self) -> protection_pb2.ProjectCoverage:
        rows, view = len(self.rows), self.view
        return protection_pb2.ProjectCoverage(
            project=view.ref.project,
            region=view.ref.region,
            resources=rows,
            selected=rows,
            vaults=len(view.rows("vaults")),
            backups=len(view.rows("backups")),
            problems=[*view.problems, *map(_unclear, self.unclear)],
        )

    @cached_property
    def _standing(self) -> Standing:
        return Standing(self.view)

    @cached_property
    def _plans(self) -> Mapping[str, Plan]:
        """By vault."""
        policies, vaults = self.view.rows("policies"), self.view.rows("vaults")
        return {
            vault: plan
            for plan in plans_of(policies, vaults, self.unclear.append)
            for vault in plan.vaults
        }

    @cached_property
    def _tasks(self) -> Mapping[str, Sequence[task_pb2.Task]]:
        """Backups that were begun in the period, or so soon after it that they may be late runs of
        it; by resource, the oldest first.
        """
        found: dict[str, list[task_pb2.Task]] = defaultdict(list)
        for task in sorted(self.view.rows("tasks"), key=_begun):
            if self.period.start <= _begun(task) <= self.period.end + self.period.grace_s:
                found[task.details.resource.id].append(task)
        return found

    @cached_property
    def _restored(self) -> Mapping[str, float]:
        """When a backup of each resource was last restored."""
        of = {backup.id: backup.resource_id for backup in self.view.rows("backups")}
        found: dict[str, float] = {}
        for task in self.view.rows("restores"):
            if task.status == task_pb2.TASK_STATUS_SUCCEEDED:
                backup = task.details.restore.backup_id
                resource = of.get(backup, task.details.resource.id)
                found[resource] = max(ended_at(task), found.get(resource, 0.0))
        return found

    def _row(
        self, vault: types_pb2.Vault, resource: types_pb2.VaultResource
    ) -> protection_pb2.ReportRow:
        tasks = self._tasks.get(resource.id, ())
        plan = None if _suspended(resource) else self._plans.get(vault.id)
        due = plan.times(self.period.start, self.period.end) if plan is not None else {}
        absent = [at for at, early_s in due.items() if self._is_absent(plan, at, early_s, tasks)]
        missed = [at for at in absent if self._until(plan, at) <= self.period.now]
        tasks = [task for task in tasks if self._is_within(plan, task)]
        gap_s = self._longest_gap(resource.id, tasks)
        row = protection_pb2.ReportRow(
            project=self.view.ref.project,
            region=self.view.ref.region,
            vault_id=vault.id,
            vault_name=vault.name,
            policy_id=plan.policy if plan is not None else "",
            resource_id=resource.id,
            resource_name=resource.name,
            resource_type=resource.type,
            scheduled=len(due),
            done=_count(tasks, {task_pb2.TASK_STATUS_SUCCEEDED}),
            failed=_count(tasks, FAILED),
            skipped=_count(tasks, SKIPPED),
            missed=len(missed),
            missed_times=[moment(at) for at in missed[:_SHOWN_TIMES]],
            rpo_met=gap_s <= self.period.rpo_s,
        )
        row.proven = bool(row.done) and not (row.failed or row.skipped or absent)
        row.longest_gap.FromNanoseconds(round(gap_s * 1e9))
        if resource.id in self._restored:
            row.restore_tested_time.CopyFrom(moment(self._restored[resource.id]))
        self._add_evidence(row, tasks)
        return row

    def _add_evidence(self, row: protection_pb2.ReportRow, tasks: Sequence[task_pb2.Task]) -> None:
        row.task_ids.extend(task.id for task in tasks[:_SHOWN_IDS])
        records = [record for task in tasks for record in self.records.get(task.id, ())]
        row.audit_record_ids.extend(records[:_SHOWN_IDS])

    def _until(self, plan: Plan | None, due: float) -> float:
        """When a run that has not begun is missed."""
        assert plan is not None
        return due + plan.window_s + self.period.grace_s

    def _is_absent(
        self, plan: Plan | None, due: float, early_s: float, tasks: Iterable[task_pb2.Task]
    ) -> bool:
        """Whether a run has not begun; it may still come."""
        assert plan is not None
        until, since = self._until(plan, due), due - max(EARLY_S, early_s)
        return not any(
            task.policy_id == plan.policy and since <= _begun(task) <= until for task in tasks
        )

    def _is_within(self, plan: Plan | None, task: task_pb2.Task) -> bool:
        """Whether a task counts for the period: begun in it, or a late run of a time in it, so that
        no later time has come yet.
        """
        begun, end = _begun(task), self.period.end
        if begun <= end or plan is None or task.policy_id != plan.policy:
            return begun <= end
        return not plan.times(end, begun + EARLY_S)

    def _longest_gap(self, resource_id: str, tasks: Iterable[task_pb2.Task]) -> float:
        """Between two good backups, of which CBR may have deleted some since: then their tasks
        tell.
        """
        good = {done_at(backup) for backup in self._standing.backups.get(resource_id, ())}
        good |= {ended_at(task) for task in tasks if task.status == task_pb2.TASK_STATUS_SUCCEEDED}
        start, end = self.period.start, min(self.period.end, self.period.now)
        before = max((at for at in good if at < start), default=start)
        points = [before, *sorted(at for at in good if start <= at <= end), end]
        return max(after - at for at, after in pairwise(points))


def totals(rows: Iterable[protection_pb2.ReportRow]) -> protection_pb2.ReportTotals:
    found = protection_pb2.ReportTotals()
    for row in rows:
        found.resources += 1
        found.proven += row.proven
        found.rpo_met += row.rpo_met
        for name in ("scheduled", "done", "failed", "skipped", "missed"):
            setattr(found, name, getattr(found, name) + getattr(row, name))
    return found


def _suspended(resource: types_pb2.VaultResource) -> bool:
    return resource.HasField("auto_protect") and not resource.auto_protect


def _count(tasks: Iterable[task_pb2.Task], statuses: Any) -> int:  # noqa: ANN401 - of an enum
    return sum(task.status in statuses for task in tasks)


def _begun(task: task_pb2.Task) -> float:
    return seconds(task.create_time)


def _unclear(policy: str) -> protection_pb2.CoverageProblem:
    return protection_pb2.CoverageProblem(
        list="schedules",
        reason=errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL,
        message=f"The times of policy {policy} cannot be understood: its runs are not counted.",
    )
