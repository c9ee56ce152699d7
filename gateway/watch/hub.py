"""Brings those who watch together with the one poller of their project, and leaves it when they
have left.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from cbrgateway.v1 import task_pb2, types_pb2
from msgspec import Struct, field

from gateway.time_limit import TimeLimit
from gateway.watch.poller import Poller
from gateway.watch.resume import ResumeTokens
from gateway.watch.selection import Selection, owner_of
from gateway.watch.send_queue import SendQueue, StreamCounts
from gateway.watch.subscription import Subscription
from gateway.watch.tracker import TaskTracker


class _Followed(Struct):
    """A project that is watched.

    `subscriptions`: by owner, and how many use each; `of_submissions`: by the submissions that
    filters name.
    """

    poller: Poller
    subscriptions: dict[tuple[bytes, frozenset[str]], tuple[Subscription, int]] = field(
        default_factory=dict
    )
    of_submissions: dict[str, set[Subscription]] = field(default_factory=dict)
    lingering: asyncio.TimerHandle | None = None


class Hub:
    """One per process."""

    def __init__(self, tracker: TaskTracker, tokens: ResumeTokens) -> None:
        self.tokens = tokens
        self.settings = tracker.settings
        self.clock = tracker.clock
        self.stall = TimeLimit(self.settings.stall_s)
        """How long a caller may read nothing."""
        self.ending = False
        """Whether everybody is to leave."""
        self.tracker = tracker
        self.projects: dict[str, _Followed] = {}
        self.queues: set[SendQueue] = set()
        self.counts = StreamCounts()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextlib.contextmanager
    def joined(
        self, project: str, scope: str, wanted: task_pb2.TaskFilter, hidden: frozenset[str]
    ) -> Iterator[tuple[Subscription, SendQueue]]:
        """The subscription of a filter, and a queue that it wakes with every poll until it is made
        live. `scope`: tenant and project; `hidden`: kinds of objects that the caller may not list.
        """
        followed = self._follow(project)
        owner = owner_of(scope, wanted)
        subscription, users = followed.subscriptions.get((owner, hidden)) or (
            Subscription(followed.poller, Selection(wanted), owner, self.tokens, hidden),
            0,
        )
        followed.subscriptions[owner, hidden] = (subscription, users + 1)
        for submission_id in subscription.selection.submission_ids:
            followed.of_submissions.setdefault(submission_id, set()).add(subscription)
        followed.poller.listeners.add(subscription.take)
        with self.opened() as queue:
            subscription.starting.add(queue)
            try:
                yield subscription, queue
            finally:
                subscription.starting.discard(queue)
                subscription.live.discard(queue)
                self._leave(project, followed, subscription)

    @contextlib.contextmanager
    def opened(self) -> Iterator[SendQueue]:
        """What one stream or wait is woken by, until it is left; `end` waits for all of them."""
        queue = SendQueue(self.counts)
        self.queues.add(queue)
        self._empty.clear()
        try:
            yield queue
        finally:
            self.queues.discard(queue)
            if not self.queues:
                self._empty.set()

    def _follow(self, project: str) -> _Followed:
        followed = self.projects.get(project)
        if followed is None:
            followed = self.projects[project] = _Followed(self.tracker.use(project))
        if followed.lingering is not None:
            followed.lingering.cancel()
            followed.lingering = None
        return followed

    def _leave(self, project: str, followed: _Followed, subscription: Subscription) -> None:
        key = (subscription.owner, subscription.hidden)
        _, users = followed.subscriptions[key]
        if users > 1:
            followed.subscriptions[key] = (subscription, users - 1)
            return
        del followed.subscriptions[key]
        for submission_id in subscription.selection.submission_ids:
            followed.of_submissions[submission_id].discard(subscription)
            if not followed.of_submissions[submission_id]:
                del followed.of_submissions[submission_id]
        followed.poller.listeners.discard(subscription.take)
        if not followed.subscriptions:
            loop = asyncio.get_running_loop()
            followed.lingering = loop.call_later(self.settings.linger_s, self._forget, project)

    def _forget(self, project: str) -> None:
        del self.projects[project]
        self.tracker.leave(project)

    def hear(self, project: str, submission: types_pb2.Submission) -> None:
        """A submission is new or has changed."""
        followed = self.projects.get(project)
        if followed is None:
            return
        for task_id in submission.task_ids:
            if row := followed.poller.table.rows.get(task_id):
                self.tracker.source.complete(project, row.task)
                row.touch()
        for subscription in list(followed.of_submissions.get(submission.id, ())):
            subscription.learn(submission.id, submission)

    def nudge(self, project: str) -> None:
        """Something was changed in the project: if it is watched, it is polled at once."""
        if project in self.projects:
            self.projects[project].poller.nudge()

    async def end(self, within_s: float) -> None:
        """Has every stream and wait ended by itself; returns when they are, or when the time is
        up.

        Callers that do not read are not waited for longer than that.
        """
        self.ending = True
        self.stall.shorten(within_s / 2)
        for queue in self.queues:
            queue.wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._empty.wait()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until left; then nobody lingers any more."""
        try:
            yield
        finally:
            self.ending = True
            for followed in self.projects.values():
                if followed.lingering is not None:
                    followed.lingering.cancel()
            self.projects.clear()
