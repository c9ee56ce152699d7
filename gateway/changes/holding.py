"""ConcurrencySlots under limits of concurrency that the work behind a change takes: held until its
tasks are over, by whichever process is there.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import structlog
from cbrgateway.v1 import task_pb2

from gateway.changes.record import Note, OperationDetail
from gateway.clock import Clock
from gateway.errors import GatewayError
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

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(slots=True)
class Holdings:
    """One per process.

    Holders are named by their operation, so that several processes that hold for one take one
    place.
    """

    operations: OperationStore
    leases: Leases
    reader: UpstreamReader
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
                if op is None or await self._over(op):
                    return True
            except (GatewayError, StoreDown) as error:
                log.warning(
                    "cannot see now whether work is over; it keeps its slots",
                    submission=op_id,
                    error=str(error),
                )
            except KeyError:
                log.warning(
                    "the project of work that goes on is not served any more; its slots are left",
                    submission=op_id,
                )
                return False
            await self.clock.sleep(BEAT_S)

    async def _over(self, op: OperationView) -> bool:
        """Whether nothing of the work goes on any more; if so, it is noted.

        Raises GatewayError, StoreDown or KeyError.
        """
        note = Note.of(op.note)
        if op.state not in {*OPEN, State.COMMITTED} or (note is not None and note.over):
            return True
        if op.state in OPEN or note is None or not note.found_at:
            return False
        for task_id in note.task_ids:
            shown = await self.reader.read(
                task_pb2.GetTaskRequest(task_id=task_id),
                task_pb2.GetTaskResponse,
                OperationDetail.of(op.detail).project,
            )
            if shown is not None and not shown.task.HasField("end_time"):
                return False
        return await self.operations.note(
            op.id, msgspec.structs.replace(note, over=True).packed(), op.note
        )
