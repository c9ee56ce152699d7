"""A run of a policy that did not come, as an event."""

import datetime as dt
import hashlib

from gateway.events.types import ScheduleData, ScheduleMissed, moment
from gateway.schedules.missed import MissedRun


def schedule_missed(run: MissedRun, source: str, tenant: str) -> ScheduleMissed:
    """The same id each time: one that is told again is the same event."""
    due = dt.datetime.fromtimestamp(run.due, dt.UTC)
    # A project may be there twice, for two tenants that share it.
    name = hashlib.sha256(f"{run.project}/{run.policy}".encode()).hexdigest()[:32]
    return ScheduleMissed(
        id=f"missed-{name}-{due:%Y%m%dT%H%MZ}",
        source=source,
        subject=f"policies/{run.policy}",
        time=moment(run.until),
        data=ScheduleData(
            outcome="missed",
            policy=run.policy,
            policy_name=run.name,
            due=due,
            project=run.project.partition("/")[0],
            tenant=tenant,
            vaults=run.vaults,
        ),
    )
