"""ConcurrencySlots under limits of concurrency that the work behind a change takes: held until its
tasks are over, as polls of its project show, by whichever process is there.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog
from msgspec import field

from gateway.changes.record import Note, OperationDetail
from gateway.clock import Clock
from gateway.limits.slots import BEAT_S, LEASE_S
from gateway.state import (
    MAX_AMOUNT,
    OPEN,
    Leases,
    OperationStore,
    OperationView,
    Slot,
    State,
    StoreDown,
)
from gateway.upstream.reader import UpstreamReader
from gateway.watch.tracker import TaskTracker

_FOLLOW_S: Final = 60.0
"""Time between two looks at whether a project is still served, and work not settled otherwise."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Holdings(msgspec.Struct):
    """One per process.

    Holders are named by their operation, so that several processes that hold for one take one
    place.
    """

    operations: OperationStore
    leases: Leases
    reader: UpstreamReader
    tracker: TaskTracker
    clock: Clock
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def hold(self, op_id: str, slots: Sequence[str]) -> None:
        """Keeps the slots until the work is over.

        What was lost meanwhile, as by a restart, is taken again whatever the limit: the work goes
        on.
        """
        if op_id not in self._tasks:
            task = asyncio.create_task(self._hold(op_id, [Slot(key, MAX_AMOUNT) for key in slots]))
            self._tasks[op_id] = task
            task.add_done_callback(lambda _ended: self._tasks.pop(op_id, None))

    async def aclose(self) -> None:
        """Leaves the slots to their leases, which end soon."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _hold(self, op_id: str, slots: Sequence[Slot]) -> None:
        keeping = asyncio.create_task(self._keep(op_id, slots))
        try:
            over = await self._until_over(op_id)
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
        if over:
            with contextlib.suppress(StoreDown):
                await self.leases.free(op_id, [slot.key for slot in slots])

    async def _keep(self, op_id: str, slots: Sequence[Slot]) -> None:
        """Keeps the leases alive, however long it takes to see how far the work is: nobody may have
        the slots while that is not known.
        """
        while True:
            try:
                await self.leases.lease(op_id, slots, LEASE_S)
            except StoreDown as down:
                log.warning(
                    "the store does not answer; slots are taken again once it does",
                    submission=op_id,
                    error=str(down),
                )
            await self.clock.sleep(BEAT_S)

    async def _until_over(self, op_id: str) -> bool:
        """Waits for the end of the work.

        False: this gateway does not serve its project any more, so that it can never see it.
        """
        while True:
            try:
                op = await self.operations.get(op_id)
                if op is None or _is_over(op):
                    return True
                project = OperationDetail.of(op.detail).project
                self.reader.known(project)
                note = _found(op)
                if note is None:
                    await self.clock.sleep(BEAT_S)
                elif await self._ended(project, note.task_ids) and await self.operations.note(
                    op.id, msgspec.structs.replace(note, over=True).packed(), op.note
                ):
                    return True
            except StoreDown as error:
                log.warning(
                    "cannot see now whether work is over; it keeps its slots",
                    submission=op_id,
                    error=str(error),
                )
                await self.clock.sleep(BEAT_S)
            except KeyError:
                log.warning(
                    "the project of work that goes on is not served any more; its slots are left",
                    submission=op_id,
                )
                return False

    async def _ended(self, project: str, task_ids: Sequence[str]) -> bool:
        """Waits for the end of all of the tasks for a while; whether they have ended."""
        left, over = set(task_ids), asyncio.Event()

        def on_end(task_id: str) -> None:
            left.discard(task_id)
            if not left:
                over.set()

        if left:
            with (
                self.tracker.follow(project, task_ids, on_end),
                contextlib.suppress(TimeoutError),
            ):
                async with asyncio.timeout(_FOLLOW_S):
                    await over.wait()
        return not left


def _is_over(op: OperationView) -> bool:
    """Whether it is known that nothing of the work goes on any more."""
    note = Note.of(op.note)
    return op.state not in {*OPEN, State.COMMITTED} or (note is not None and note.over)


def _found(op: OperationView) -> Note | None:
    """What is known of the work once all of its tasks are."""
    note = Note.of(op.note)
    return note if op.state is State.COMMITTED and note is not None and note.found_at else None
