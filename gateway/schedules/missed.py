"""Which runs of a policy did not come: its times, compared with the tasks that CBR shows; pure."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import structlog
from cbrgateway.v1 import task_pb2
from msgspec import Struct

from gateway.schedules.plans import Known, Plan

EARLY_S: Final = 300.0
"""By how much CBR's scheduler may be ahead of the clock by which it dates tasks."""
Runs: TypeAlias = Mapping[tuple[str, str], Sequence[float]]
"""When tasks of a policy at a vault were made, in seconds since 1970."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Expected(Struct, frozen=True):
    """A run that is to be there by now. `since`: from when on it counts; `until`: up to when. In
    seconds since 1970, by CBR's clock. `vaults`: those of which that can be said.
    """

    plan: Plan
    due: float
    since: float
    until: float
    vaults: tuple[str, ...]


class MissedRun(Struct, frozen=True):
    """A run that did not come. `vaults`: those that were not backed up; the rest as above."""

    project: str
    policy: str
    name: str
    due: float
    until: float
    vaults: tuple[str, ...]

    def warn(self) -> None:
        """Says it in the log."""
        log.warning(
            "a scheduled backup did not run",
            project=self.project,
            policy=self.policy,
            policy_name=self.name,
            due=dt.datetime.fromtimestamp(self.due, dt.UTC).isoformat(),
            vaults=self.vaults,
        )


def expected(plan: Plan, known: Known, now: float, grace_s: float) -> list[Expected]:
    """The runs of a policy that are not told yet, and can be by now; the oldest first."""
    within_s = plan.window_s + grace_s
    return [
        Expected(
            plan,
            due,
            due - max(EARLY_S, uncertain_s),
            due + within_s,
            tuple(vault for vault, since in known.vaults.items() if since < due),
        )
        for due, uncertain_s in plan.times(known.told, now - within_s).items()
    ]


def runs_of(tasks: Iterable[task_pb2.Task]) -> Runs:
    """A task that was skipped or failed is a run, too: its end is told by itself."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for task in tasks:
        if task.policy_id and task.type == task_pb2.TASK_TYPE_BACKUP:
            found[task.policy_id, task.vault_id].append(task.create_time.ToNanoseconds() / 1e9)
    return found


def missed(project: str, run: Expected, runs: Runs) -> MissedRun | None:
    """None: it came."""
    policy = run.plan.policy
    left = tuple(
        vault
        for vault in run.vaults
        if not any(run.since <= at <= run.until for at in runs.get((policy, vault), ()))
    )
    return MissedRun(project, policy, run.plan.name, run.due, run.until, left) if left else None
