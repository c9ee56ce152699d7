"""Who is told how changes and tasks end, and of runs that did not come: the audit log, events, and
what is counted.
"""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable

import structlog
from cbrgateway.v1.task_pb2 import TaskStatus

from gateway.audit.log import Audit
from gateway.audit.record import Task
from gateway.audit.task_record import TaskActivity
from gateway.changes.ends import Listener, TaskEnd
from gateway.changes.ledger import AnyOperation, Ending
from gateway.events.running import Events
from gateway.observed import Observed
from gateway.quota import Quota
from gateway.rpc.settled import settled
from gateway.schedules.missed import MissedRun
from gateway.schedules.watching import OnMissed
from gateway.state import OperationStore, State, StoreDown
from gateway.upstream.catalog import Catalog
from gateway.upstream.change_observer import ChangeResult
from gateway.way import Way

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def listeners(events: Events, audit: Audit, observed: Observed) -> list[Listener]:
    """Of ends of tasks. Counted last: what one before it fails to keep is told again."""
    records = [_recording(audit)] if audit.on else []
    return [*events.listeners(), *records, observed.task_ended]


def _recording(audit: Audit) -> Listener:
    """Has the audit log told how work ends."""

    async def tell(end: TaskEnd) -> None:
        task, facts = end.task, end.facts
        row = Task(
            uid=task.id,
            type=end.type,
            status=TaskStatus.Name(task.status).removeprefix("TASK_STATUS_"),
            outcome=facts.outcome,
            code=facts.code,
            submission=end.submission,
            policy=end.policy,
            caught_up=end.caught_up,
        )
        activity = TaskActivity(
            row,
            project=end.project.partition("/")[0],
            tenant=end.tenant,
            principal=end.principal.rpartition("/")[2],
            operation=end.rpc,
            reason=facts.reason,
            text=facts.text,
            resources=facts.resources,
            began=task.start_time.ToNanoseconds() / 1e9,
            ended=task.end_time.ToNanoseconds() / 1e9,
            trace_id=end.trace_id,
            losses=end.losses,
        )
        await audit.task_ended(activity)

    return tell


def settling(
    audit: Audit, events: Events, catalog: Catalog
) -> Callable[[AnyOperation, Ending], None]:
    def on_end(op: AnyOperation, ending: Ending) -> None:
        audit.settled(op.id, ending.result.name, lambda: settled(catalog, op, ending))
        events.change_ended(op, ending.result)

    return on_end


@contextlib.asynccontextmanager
async def learning(
    audit: Audit, operations: OperationStore, quota: Quota, way: Way, every_s: float
) -> AsyncIterator[None]:
    """Tells the audit log, from now on, what the store knows of changes whose result it has not:
    an earlier process or another replica has learnt it.
    """

    async def run() -> None:
        while True:
            await way.clock.sleep(every_s)
            try:
                await settle(audit, operations, way.catalog, quota.is_under_way)
            except Exception:
                log.exception("the ends of changes could not be recorded; that is tried again")

    await settle(audit, operations, way.catalog, quota.is_under_way)
    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settle(
    audit: Audit,
    operations: OperationStore,
    catalog: Catalog,
    is_under_way: Callable[[str], bool],
) -> None:
    """Tells it once. `is_under_way`: whether this process is at work on an operation."""
    try:
        # One by one: they are few, and those that have ended in a day may be a million.
        known = [await operations.get(op_id) for op_id in audit.unsettled]
    except StoreDown as down:
        log.warning("the store does not answer", error=str(down))
        return
    for op in known:
        # The reservation of what is not sent runs out.
        expired = op is not None and op.state is State.EXPIRED and not is_under_way(op.id)
        if op is not None and (expired or op.state in {State.COMMITTED, State.RELEASED}):
            done = op.state is State.COMMITTED
            result = ChangeResult.DONE if done else ChangeResult.NOTHING
            ending = Ending(result, None, op.resource_id, op.note)
            audit.settled(op.id, result.name, functools.partial(settled, catalog, op, ending))


def telling(quota: Quota, events: Events, observed: Observed) -> OnMissed:
    """Has a run told that did not come; counted last, as ends are."""

    async def tell(run: MissedRun) -> None:
        await events.schedule_missed(run, quota.tenant_of(run.project))
        observed.schedule_missed(run)

    return tell
