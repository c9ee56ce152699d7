"""How tasks end, for those who keep a record of it: each end once for all replicas, and again after
a crash that came between the telling and the note of it.

This is the one place that hears of every end: whoever counts, records or passes on ends is a
listener here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from cbrgateway.v1 import task_pb2, types_pb2

from gateway.changes.correlation import RESOLVED
from gateway.changes.submissions import Submissions
from gateway.watch.ends import EndedTask
from gateway.watch.tracker import TaskTracker

_MOST: Final = 100_000
"""Tasks of which it is remembered that they are followed."""


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended.

    `submission`, `rpc` and `tenant`: the change that started it, empty where none of this gateway
    did; `status` is GONE for a task that CBR does not know any more. `caught_up`: it ended while no
    gateway polled.
    """

    project: str
    task: task_pb2.Task
    type: str
    status: str
    submission: str
    rpc: str
    tenant: str
    caught_up: bool


Listener = Callable[[TaskEnd], Awaitable[None]]
"""Has kept the end when it returns; where it raises, the end is told again."""


@dataclass(slots=True)
class TaskEnds:
    """One per process."""

    submissions: Submissions
    tracker: TaskTracker
    listeners: list[Listener]
    _followed: dict[str, None] = field(default_factory=dict)
    _following: set[asyncio.Task[None]] = field(default_factory=set)

    async def hear(self, ended: EndedTask) -> bool:
        """Tells an end; False: not yet, since it is being found out whose task it is.

        Raises StoreDown, KeyError for a project that is not served, and what listeners raise.
        """
        task = ended.task
        submission = await self.submissions.owner(ended.project, task)
        if submission is None:
            return False
        op = await self.submissions.operations.get(submission) if submission else None
        end = TaskEnd(
            project=ended.project,
            task=task,
            type=task_pb2.TaskType.Name(task.type).removeprefix("TASK_TYPE_"),
            status="GONE"
            if ended.gone
            else task_pb2.TaskStatus.Name(task.status).removeprefix("TASK_STATUS_"),
            submission=submission,
            rpc=op.rpc if op is not None else "",
            tenant=op.tenant if op is not None else "",
            caught_up=ended.caught_up,
        )
        for listener in self.listeners:
            await listener(end)
        return True

    # Projects that are polled only while somebody waits
    # ----------------------------------------------------------------------------------------------

    def follow(self, project: str, submission: types_pb2.Submission) -> None:
        """Has the project of a submission polled until its tasks have ended.

        A listener of submissions, for projects that are not polled anyway.
        """
        new = set(submission.task_ids) - self._followed.keys()
        if submission.state == RESOLVED and new:
            self._followed |= dict.fromkeys(new)
            for oldest in list(self._followed)[: max(0, len(self._followed) - _MOST)]:
                del self._followed[oldest]
            accepted = submission.accept_time.ToNanoseconds() / 1e9
            task = asyncio.create_task(self._follow(project, new, accepted))
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    async def _follow(self, project: str, ids: set[str], accepted: float) -> None:
        left, over = await self._untold(project, ids, accepted), asyncio.Event()

        def on_end(task_id: str) -> None:
            left.discard(task_id)
            if not left:
                over.set()

        if left:
            with self.tracker.follow(project, set(left), on_end):
                await over.wait()

    async def _untold(self, project: str, ids: set[str], accepted: float) -> set[str]:
        """Those of which the end may not be told yet."""
        told = await self.tracker.told(project)
        if told is None or accepted > told.made - self.tracker.settings.lag_s:
            return set(ids)
        return ids & set(told.opened)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until left, then nothing is followed any more."""
        self.tracker.on_end = self.hear
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self._stop)
            if self.tracker.settings.follow == "watched":
                stack.callback(self.submissions.subscribe(self.follow))
            yield

    async def _stop(self) -> None:
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)
