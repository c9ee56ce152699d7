"""Follows the work that changes started to its end, maybe hours later, for those who keep a record
of it.

Each end is told at least once: it is told first, then noted with the operation, so that a crash
between the two tells it again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from cbrgateway.v1 import task_pb2, types_pb2

from gateway.changes.correlation import RESOLVED
from gateway.changes.record import Note
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.state import OperationStore, StoreDown
from gateway.upstream.reader import UpstreamReader

_SHORTEST_S: Final = 1.0
_LONGEST_S: Final = 60.0
_SHARE: Final = 0.1
"""A task that has run for long is looked at less often: after this share of its time."""
_AT_ONCE: Final = 50

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended.

    `submission`: the change that started it; `status` is GONE for a task that CBR does not know any
    more.
    """

    task_id: str
    type: str
    status: str
    submission: str
    rpc: str
    tenant: str


@dataclass(slots=True)
class _Open:
    project: str
    submission: str
    since: float
    next_at: float


@dataclass(slots=True)
class TaskEnds:
    """One per process. `tell` hears of each end."""

    operations: OperationStore
    reader: UpstreamReader
    clock: Clock
    tell: Callable[[TaskEnd], None]
    _open: dict[str, _Open] = field(default_factory=dict)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, project: str, submission: types_pb2.Submission) -> None:
        """Takes over the tasks of a submission, once it is known which they are."""
        if submission.state != RESOLVED:
            return
        now = self.clock.monotonic()
        for task_id in submission.task_ids:
            self._open.setdefault(task_id, _Open(project, submission.id, now, now))
        self._woken.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follows until left."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            due = [
                (name, each)
                for name, each in self._open.items()
                if each.next_at <= self.clock.monotonic()
            ][:_AT_ONCE]
            for task_id, each in due:
                try:
                    if await self._ended(task_id, each):
                        del self._open[task_id]
                        continue
                except (GatewayError, StoreDown, KeyError) as error:
                    log.warning(
                        "the end of a task cannot be looked for now", task=task_id, error=str(error)
                    )
                except Exception:
                    log.exception("the end of a task is not looked for any more", task=task_id)
                    del self._open[task_id]
                    continue
                now = self.clock.monotonic()
                each.next_at = now + min(max((now - each.since) * _SHARE, _SHORTEST_S), _LONGEST_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SHORTEST_S if self._open else None):
                    await self._woken.wait()

    async def _ended(self, task_id: str, each: _Open) -> bool:
        """One look; True when there is nothing left to tell.

        Raises GatewayError, StoreDown, and KeyError for a project that is not served.
        """
        op = await self.operations.get(each.submission)
        note = Note.of(op.note) if op is not None else None
        if op is None or note is None or task_id in note.ended:
            return True
        asked = task_pb2.GetTaskRequest(task_id=task_id)
        answer = await self.reader.read(asked, task_pb2.GetTaskResponse, each.project)
        task = answer.task if answer is not None else None
        if task is not None and not task.HasField("end_time"):
            return False
        kind, status = (
            ("", "GONE")
            if task is None
            else (task_pb2.TaskType.Name(task.type), task_pb2.TaskStatus.Name(task.status))
        )
        end = TaskEnd(
            task_id,
            kind.removeprefix("TASK_TYPE_"),
            status.removeprefix("TASK_STATUS_"),
            op.id,
            op.rpc,
            op.tenant,
        )
        self.tell(end)
        newer = msgspec.structs.replace(note, ended=(*note.ended, task_id))
        await self.operations.note(op.id, newer.packed(), op.note)
        return True
