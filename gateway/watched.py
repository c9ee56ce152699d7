"""Tasks as they run: what is added to them, who hears of their ends, and who follows them."""

import uuid
from collections.abc import Collection

from google.rpc.status_pb2 import Status
from msgspec import Struct

from gateway.changes.ends import Listener, TaskEnds
from gateway.changes.owners import TaskOwners
from gateway.changes.submissions import Submissions
from gateway.config import Config
from gateway.errors import GatewayError
from gateway.quota import Quota
from gateway.rpc.status import to_status
from gateway.state import Heartbeat, Store
from gateway.watch.enricher import TaskEnricher
from gateway.watch.hub import Hub
from gateway.watch.poll_lease import PollLease
from gateway.watch.poller import Source
from gateway.watch.resume import ResumeTokens
from gateway.watch.tracker import TaskTracker
from gateway.way import Way


class Watched(Struct, frozen=True):
    """Tasks as they run: what is added to them, who hears of their ends, and who follows them."""

    enricher: TaskEnricher
    ends: TaskEnds
    hub: Hub


def make_submissions(config: Config, store: Store, way: Way) -> tuple[Submissions, TaskEnricher]:
    """What follows the tasks of all projects, and what adds the gateway's own fields to them."""

    def projects() -> Collection[str]:
        return way.current.snapshot.accounts.keys()

    alone = config.state.kind == "sqlite" and way.role.owner is None
    heartbeat = Heartbeat(store.leases, way.clock, uuid.uuid4().hex, alone=alone)
    owners = TaskOwners()
    enricher = TaskEnricher(owners.of, _status)
    turn_s = 3 * config.watch.busy_s
    tracker = TaskTracker(
        Source(way.reader, enricher.add, _status),
        config.watch,
        way.clock,
        store.cursors,
        PollLease(store.leases, store.channel, heartbeat.owner, way.clock, turn_s),
        projects,
    )
    submissions = Submissions(
        store.operations, store.leases, tracker, owners, way.clock, config.tasks, heartbeat
    )
    return submissions, enricher


def make_watched(
    config: Config,
    way: Way,
    quota: Quota,
    enricher: TaskEnricher,
    listeners: list[Listener],
) -> Watched:
    tracker = quota.submissions.tracker
    resumes = ResumeTokens(way.key, way.clock, config.watch.resume_s, config.watch.lag_us)
    ends = TaskEnds(quota.submissions, tracker, quota.tenant_of, listeners)
    return Watched(enricher, ends, Hub(tracker, resumes))


def _status(error: GatewayError) -> Status:
    """The form that errors have in events and tasks, which belong to no call."""
    return to_status(error, "")
