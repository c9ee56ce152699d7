"""How tasks end, for those who keep a record of it: each end once for all replicas, and again after
a crash that came between the telling and the note of it.

This is the one place that hears of every end: whoever counts, records or passes on ends is a
listener here.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import structlog
from cbrgateway.v1 import policy_pb2, task_pb2
from msgspec import Struct, field
from msgspec.structs import replace

from gateway.changes.followed import Followed
from gateway.changes.record import Note, OperationDetail
from gateway.changes.submissions import Submissions
from gateway.changes.task_facts import Facts, facts_of, losses_of
from gateway.errors import GatewayError
from gateway.state import OperationView
from gateway.upstream.losses import Loss
from gateway.watch.ends import EndedTask
from gateway.watch.tracker import TaskTracker

_NAME_S: Final = 1.0
_MOST_POLICIES: Final = 1000
_NOTE_TRIES: Final = 5
"""Others note, too, when tasks are found or over: a few times."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class TaskEnd(Struct, frozen=True):
    """How a task ended.

    `submission`, `rpc`, `principal` and `trace_id`: the change that started it, empty where none of
    this gateway did. `policy`: the name of the policy whose run did, or else its id. `caught_up`:
    it ended while no gateway polled. `losses`: what that change has destroyed beside its object.
    """

    project: str
    task: task_pb2.Task
    facts: Facts
    caught_up: bool
    submission: str = ""
    rpc: str = ""
    tenant: str = ""
    principal: str = ""
    policy: str = ""
    losses: tuple[Loss, ...] = ()
    trace_id: str = ""

    @property
    def type(self) -> str:
        return task_pb2.TaskType.Name(self.task.type).removeprefix("TASK_TYPE_")

    def warn(self) -> None:
        """Says it in the log, for work that did not succeed."""
        if self.facts.outcome == "succeeded":
            return
        known = {
            "task": self.task.id,
            "type": self.type,
            "outcome": self.facts.outcome,
            "project": self.project,
            "reason": self.facts.reason,
            "code": self.facts.code,
            "why": self.facts.text,
            "policy_name": self.policy,
            "trace_id": self.trace_id,
            "submission": self.submission,
            **dict(self.facts.resources),
        }
        said = {name: value for name, value in known.items() if value}
        log.warning("a task did not succeed", caught_up=self.caught_up, **said)


Listener = Callable[[TaskEnd], Awaitable[None]]
"""Has kept the end when it returns; where it raises, the end is told again."""


class TaskEnds(Struct):
    """One per process. `tenant_of`: who has a project."""

    submissions: Submissions
    tracker: TaskTracker
    tenant_of: Callable[[str], str]
    listeners: list[Listener]
    _policies: dict[tuple[str, str], str] = field(default_factory=dict)

    async def hear(self, ended: EndedTask) -> bool:
        """Tells an end; False: not yet, since it is being found out whose task it is.

        Raises StoreDown, KeyError for a project that is not served, and what listeners raise.
        """
        task = ended.task
        submission = await self.submissions.owner(ended.project, task)
        if submission is None:
            return False
        end = await self._described(ended, submission)
        for listener in self.listeners:
            await listener(end)
        end.warn()
        return True

    async def _described(self, ended: EndedTask, submission: str) -> TaskEnd:
        task, project = ended.task, ended.project
        op = await self.submissions.operations.get(submission) if submission else None
        note = Note.of(op.note) if op is not None else None
        detail = OperationDetail.of(op.detail) if op is not None else None
        checkpoint_id = note.search.checkpoint_id if note is not None else ""
        facts = facts_of(task, gone=ended.gone, checkpoint_id=checkpoint_id)
        foreseen = note.losses if note is not None else ()
        losses = losses_of(task, facts.outcome, foreseen)
        if op is not None and note is not None and losses != foreseen:
            await self._correct(op, note, losses)
        return TaskEnd(
            project=project,
            task=task,
            facts=facts,
            caught_up=ended.caught_up,
            submission=submission,
            rpc=op.rpc if op is not None else "",
            tenant=op.tenant if op is not None else self.tenant_of(project),
            principal=detail.principal if detail is not None else "",
            trace_id=detail.trace_id if detail is not None else "",
            policy=await self._policy(project, task.policy_id) if task.policy_id else "",
            losses=losses,
        )

    async def _correct(self, op: OperationView, note: Note, losses: tuple[Loss, ...]) -> None:
        """Has the submission say what went, too. Raises StoreDown.

        Of several tasks one may have done its part, so that nobody knows how much.
        """
        if len(note.task_ids) > 1:
            losses = tuple(Loss(each.kind, unknown=True) for each in note.losses)
        operations = self.submissions.operations
        for _ in range(_NOTE_TRIES):
            told = replace(note, losses=losses).packed()
            if await operations.note(op.id, told, op.note):
                return
            found = await operations.get(op.id)
            now = Note.of(found.note) if found is not None else None
            if found is None or now is None:
                return
            op, note = found, now

    async def _policy(self, project: str, policy_id: str) -> str:
        """The name of a policy, as it was when it was first asked for; else its id."""
        if (known := self._policies.get((project, policy_id))) is not None:
            return known
        asked = policy_pb2.GetPolicyRequest(policy_id=policy_id)
        reader = self.tracker.source.reader
        try:
            # An end does not wait for a name.
            async with asyncio.timeout(_NAME_S):
                answer = await reader.read(asked, policy_pb2.GetPolicyResponse, project)
        except (GatewayError, TimeoutError):
            return policy_id
        name = answer.policy.name if answer is not None and answer.policy.name else policy_id
        self._policies[project, policy_id] = name
        for oldest in list(self._policies)[: max(0, len(self._policies) - _MOST_POLICIES)]:
            del self._policies[oldest]
        return name

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.tracker.on_end = self.hear
        async with contextlib.AsyncExitStack() as stack:
            if self.tracker.settings.follow == "watched":
                followed = Followed(self.submissions, self.tracker)
                await stack.enter_async_context(followed.running())
            yield
