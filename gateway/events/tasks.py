"""The end of a task as an event."""

from typing import cast

from gateway.changes.ends import TaskEnd
from gateway.events.types import Lost, Resource, TaskData, TaskEnded, TaskOutcome, moment
from gateway.upstream.losses import Loss


def task_ended(end: TaskEnd, source: str, now: float) -> TaskEnded:
    """The same id each time: an end that is told again is the same event."""
    task, facts = end.task, end.facts
    ended = task.end_time.ToNanoseconds() / 1e9
    return TaskEnded(
        id=f"task-{task.id}",
        source=source,
        # What may depend on each other happens to one vault.
        subject=f"vaults/{task.vault_id}" if task.vault_id else f"tasks/{task.id}",
        time=moment(ended or now),
        data=TaskData(
            outcome=cast("TaskOutcome", facts.outcome),
            task=task.id,
            task_type=end.type,
            project=end.project.partition("/")[0],
            tenant=end.tenant,
            reason=facts.reason,
            code=facts.code,
            text=facts.text,
            submission=end.submission,
            operation=end.rpc,
            principal=end.principal.rpartition("/")[2],
            policy=end.policy,
            caught_up=end.caught_up,
            resources=tuple(Resource(kind, uid) for kind, uid in facts.resources),
            losses=tuple(_lost(each) for each in end.losses),
        ),
    )


def _lost(loss: Loss) -> Lost:
    return Lost(
        type=loss.kind,
        count=loss.count,
        ids=loss.ids,
        newest_id=loss.newest_id,
        newest_time=moment(loss.newest_at) if loss.newest_at else None,
        unknown=loss.unknown,
    )
