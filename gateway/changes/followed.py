"""Projects that are polled only while somebody waits: each until the tasks of this gateway's
submissions have ended.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from cbrgateway.v1 import types_pb2
from msgspec import Struct, field

from gateway.changes.correlation import RESOLVED
from gateway.changes.submissions import Submissions
from gateway.watch.tracker import TaskTracker

_MOST: Final = 100_000
"""Tasks of which it is remembered that they are followed."""


class Followed(Struct):
    """One per process, for projects that are not polled anyway."""

    submissions: Submissions
    tracker: TaskTracker
    _followed: dict[str, None] = field(default_factory=dict)
    _following: set[asyncio.Task[None]] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until left, then nothing is followed any more."""
        end = self.submissions.subscribe(self._hear)
        try:
            yield
        finally:
            end()
            for task in self._following:
                task.cancel()
            await asyncio.gather(*self._following, return_exceptions=True)

    def _hear(self, project: str, submission: types_pb2.Submission) -> None:
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
