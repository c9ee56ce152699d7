"""Brings those who watch together with the one poller of their project, and ends it when they have left."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from cbrgateway.v1 import task_pb2, types_pb2

from gateway.clock import Clock
from gateway.tasks.feed import Feed
from gateway.tasks.outbox import Outbox
from gateway.tasks.poller import Poller, Source
from gateway.tasks.resume import ResumeTokens
from gateway.tasks.selection import Selection, owner_of
from gateway.tasks.turns import Turns
from gateway.tasks.watch_settings import WatchSettings


@dataclass(slots=True)
class _Followed:
    """A project that is polled. `feeds`: by owner, with the number of those who use each; `of_submissions`: by the submissions that filters name."""

    poller: Poller
    polling: asyncio.Task[None]
    feeds: dict[bytes, tuple[Feed, int]] = field(default_factory=dict)
    of_submissions: dict[str, set[Feed]] = field(default_factory=dict)
    lingering: asyncio.TimerHandle | None = None


class Hub:
    """One per process."""

    def __init__(self, source: Source, settings: WatchSettings, tokens: ResumeTokens, clock: Clock, turns: Turns) -> None:
        self.tokens = tokens
        self.settings = settings
        self.clock = clock
        self.ending = False
        """Whether everybody is to leave."""
        self._source, self._turns = source, turns
        self.projects: dict[str, _Followed] = {}
        self.outboxes: set[Outbox] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextlib.contextmanager
    def joined(self, project: str, scope: str, wanted: task_pb2.TaskFilter) -> Iterator[tuple[Feed, Outbox]]:
        """The feed of a filter, and an outbox that it wakes with every poll until it is made live. `scope`: tenant and project."""
        followed = self._follow(project)
        owner, outbox = owner_of(scope, wanted), Outbox()
        feed, users = followed.feeds.get(owner) or (Feed(followed.poller, Selection(wanted), owner, self.tokens), 0)
        followed.feeds[owner] = (feed, users + 1)
        for submission_id in feed.selection.submission_ids:
            followed.of_submissions.setdefault(submission_id, set()).add(feed)
        followed.poller.listeners.add(feed.take)
        feed.starting.add(outbox)
        self.outboxes.add(outbox)
        self._empty.clear()
        try:
            yield feed, outbox
        finally:
            feed.starting.discard(outbox)
            feed.live.discard(outbox)
            self.outboxes.discard(outbox)
            if not self.outboxes:
                self._empty.set()
            self._leave(project, followed, feed)

    def _follow(self, project: str) -> _Followed:
        followed = self.projects.get(project)
        if followed is None:
            poller = Poller(project, self._source, self.settings, self.clock, self._turns)
            self._turns.join(project, poller.hear)
            # In a context of its own: what is logged of it belongs to no call.
            polling = asyncio.create_task(poller.run(), context=contextvars.Context())
            followed = self.projects[project] = _Followed(poller, polling)
        if followed.lingering is not None:
            followed.lingering.cancel()
            followed.lingering = None
        return followed

    def _leave(self, project: str, followed: _Followed, feed: Feed) -> None:
        _, users = followed.feeds[feed.owner]
        if users > 1:
            followed.feeds[feed.owner] = (feed, users - 1)
            return
        del followed.feeds[feed.owner]
        for submission_id in feed.selection.submission_ids:
            followed.of_submissions[submission_id].discard(feed)
            if not followed.of_submissions[submission_id]:
                del followed.of_submissions[submission_id]
        followed.poller.listeners.discard(feed.take)
        if not followed.feeds:
            loop = asyncio.get_running_loop()
            followed.lingering = loop.call_later(self.settings.linger_s, self._forget, project)

    def _forget(self, project: str) -> None:
        self.projects.pop(project).polling.cancel()
        self._turns.leave(project)

    def hear(self, project: str, submission: types_pb2.Submission) -> None:
        """A submission is new or has changed."""
        followed = self.projects.get(project)
        if followed is None:
            return
        for task_id in submission.task_ids:
            if row := followed.poller.table.rows.get(task_id):
                self._source.complete(project, row.task)
                row.touch()
        for feed in list(followed.of_submissions.get(submission.id, ())):
            feed.learn(submission.id, submission)

    def nudge(self, project: str) -> None:
        """Something was changed in the project: if it is watched, it is polled at once."""
        if project in self.projects:
            self.projects[project].poller.nudge()

    async def end(self, within_s: float) -> None:
        """Has every stream and wait ended by itself; returns when they are, or when the time is up."""
        self.ending = True
        for outbox in self.outboxes:
            outbox.wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._empty.wait()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Until left; then nothing is polled any more."""
        hearing = asyncio.create_task(self._turns.run())
        try:
            yield
        finally:
            self.ending = True
            hearing.cancel()
            tasks = [hearing, *(followed.polling for followed in self.projects.values())]
            for followed in self.projects.values():
                followed.polling.cancel()
                if followed.lingering is not None:
                    followed.lingering.cancel()
            self.projects.clear()
            await asyncio.gather(*tasks, return_exceptions=True)
