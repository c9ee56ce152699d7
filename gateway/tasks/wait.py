"""WaitTask: what WatchTasks tells, for callers that cannot hold a stream."""

import asyncio
import contextlib

from cbrgateway.v1 import errors_pb2, task_pb2

from gateway.errors import GatewayError, Resource
from gateway.tasks.feed import Feed
from gateway.tasks.hub import Hub
from gateway.tasks.outbox import Outbox
from gateway.tasks.table import NEVER


async def wait(hub: Hub, feed: Feed, outbox: Outbox, until: float) -> task_pb2.WaitTaskResponse:
    """Until all tasks of the feed are final, or that moment by the monotonic clock, or the gateway ends. Raises TASK_NOT_FOUND."""
    while True:
        outbox.wake.clear()
        answer = _look(feed)
        left_s = until - hub.clock.monotonic()
        if answer.done or left_s <= 0 or hub.ending:
            return answer
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await outbox.wake.wait()


def _look(feed: Feed) -> task_pb2.WaitTaskResponse:
    table, selection = feed.poller.table, feed.selection
    known = table.covers(NEVER - 1, selection.ids)
    if not known:
        feed.poller.want(NEVER - 1, selection.ids)
    for task_id in selection.task_ids:
        if task_id in table.unknown:
            resource = Resource("task", task_id)
            raise GatewayError(errors_pb2.ERROR_REASON_TASK_NOT_FOUND, "CBR does not know the task.", resource=resource)
    rows = feed.rows()
    done = known and not feed.unresolved() and all(row.final for row in rows)
    submission = next(iter(feed.submissions.values()), None)
    return task_pb2.WaitTaskResponse(done=done, tasks=[row.task for row in rows], submission=submission)
