"""WaitTask: what WatchTasks tells, for callers that cannot hold a stream."""

import asyncio
import contextlib
import dataclasses

from cbrgateway.v1 import errors_pb2, task_pb2

from gateway.errors import GatewayError, Resource
from gateway.tasks.feed import Feed
from gateway.tasks.hub import Hub
from gateway.tasks.outbox import Outbox
from gateway.tasks.table import NEVER
from gateway.tasks.unreadable import Unreadable, refuses

_REFUSED_POLLS = 2


async def wait(hub: Hub, feed: Feed, outbox: Outbox, until: float) -> task_pb2.WaitTaskResponse:
    """Until all tasks of the feed are final, or that moment by the monotonic clock, or the gateway ends.

    Raises TASK_NOT_FOUND; and why a task, or all of CBR, cannot be read: at once where that is for good, else when the time is up.
    """
    while True:
        outbox.wake.clear()
        _refuse(feed)
        answer = _look(feed)
        left_s = until - hub.clock.monotonic()
        if answer.done or hub.ending:
            return answer
        if left_s <= 0:
            _refuse_late(feed)
            return answer
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await outbox.wake.wait()


def _look(feed: Feed) -> task_pb2.WaitTaskResponse:
    poller, selection = feed.poller, feed.selection
    if not poller.covers(NEVER, selection.ids):
        poller.want(NEVER, selection.ids)
    rows = feed.rows()
    done = not feed.unresolved() and len(rows) == len(selection.ids) and all(row.final for row in rows)
    submission = next(iter(feed.submissions.values()), None)
    return task_pb2.WaitTaskResponse(done=done, tasks=[row.task for row in rows], submission=submission)


def _refuse(feed: Feed) -> None:
    poller = feed.poller
    for task_id in sorted(feed.selection.ids):
        if task_id in poller.table.unknown:
            raise GatewayError(errors_pb2.ERROR_REASON_TASK_NOT_FOUND, "CBR does not know the task.", resource=Resource("task", task_id))
        if poller.knows(task_id) and (found := poller.unreadable.given_up(task_id)):
            raise _of(task_id, found)
    if feed.failure is not None and refuses(feed.failure) and poller.outages >= _REFUSED_POLLS:
        raise dataclasses.replace(feed.failure)


def _refuse_late(feed: Feed) -> None:
    for task_id, found in feed.unreadable():
        raise _of(task_id, found)
    if feed.failure is not None:
        raise dataclasses.replace(feed.failure)


def _of(task_id: str, found: Unreadable) -> GatewayError:
    return dataclasses.replace(found.failure, resource=Resource("task", task_id))
