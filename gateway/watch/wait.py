"""WaitTask: what WatchTasks tells, for callers that cannot hold a stream."""

import asyncio
import contextlib
import dataclasses

from cbrgateway.v1 import errors_pb2, task_pb2

from gateway.errors import GatewayError, Resource
from gateway.watch.hub import Hub
from gateway.watch.send_queue import SendQueue
from gateway.watch.subscription import Subscription
from gateway.watch.table import NEVER
from gateway.watch.unreadable import Unreadable, refuses

_REFUSED_POLLS = 2


async def wait(
    hub: Hub, subscription: Subscription, queue: SendQueue, until: float
) -> task_pb2.WaitTaskResponse:
    """Until all tasks of the subscription are final, or that moment by the monotonic clock, or the
    gateway ends.

    Raises TASK_NOT_FOUND; and why a task, or all of CBR, cannot be read: at once where that is for
    good, else when the time is up.
    """
    while True:
        queue.wake.clear()
        _refuse(subscription)
        answer = _look(subscription)
        left_s = until - hub.clock.monotonic()
        if answer.done or hub.ending:
            return answer
        if left_s <= 0:
            _refuse_late(subscription)
            return answer
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await queue.wake.wait()


def _look(subscription: Subscription) -> task_pb2.WaitTaskResponse:
    poller, selection = subscription.poller, subscription.selection
    if not poller.covers(NEVER, selection.ids):
        poller.want(NEVER, selection.ids)
    rows = subscription.rows()
    done = (
        not subscription.unresolved()
        and len(rows) == len(selection.ids)
        and all(row.final for row in rows)
    )
    submission = next(iter(subscription.submissions.values()), None)
    return task_pb2.WaitTaskResponse(
        done=done, tasks=[row.task for row in rows], submission=submission
    )


def _refuse(subscription: Subscription) -> None:
    poller = subscription.poller
    for task_id in sorted(subscription.selection.ids):
        if task_id in poller.table.unknown:
            raise GatewayError(
                errors_pb2.ERROR_REASON_TASK_NOT_FOUND,
                "CBR does not know the task.",
                resource=Resource("task", task_id),
            )
        if poller.knows(task_id) and (found := poller.unreadable.given_up(task_id)):
            raise _of(task_id, found)
    if (
        subscription.failure is not None
        and refuses(subscription.failure)
        and poller.outages >= _REFUSED_POLLS
    ):
        raise dataclasses.replace(subscription.failure)


def _refuse_late(subscription: Subscription) -> None:
    for task_id, found in subscription.unreadable():
        raise _of(task_id, found)
    if subscription.failure is not None:
        raise dataclasses.replace(subscription.failure)


def _of(task_id: str, found: Unreadable) -> GatewayError:
    return dataclasses.replace(found.failure, resource=Resource("task", task_id))
