"""Tasks that are read one by one, a few at once.

One that is not answered in good time is read on in the background and holds up nobody.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from cbrgateway.v1 import errors_pb2, task_pb2
from google.rpc import code_pb2
from msgspec import Struct, field

from gateway.errors import GatewayError
from gateway.upstream.reader import UpstreamReader

_AT_ONCE: Final = 8
_WITHIN_S: Final = 3.0
"""How long all reads of one poll may keep it."""


class Reads(Struct):
    """What came of them.

    `absent`: ids that CBR does not know. What is in none of the three was not asked for yet, or is
    still on its way.
    """

    tasks: dict[str, task_pb2.Task] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    failed: dict[str, GatewayError] = field(default_factory=dict)

    @property
    def answered(self) -> bool:
        """Whether CBR answered for at least one."""
        return bool(self.tasks or self.absent)


class SingleReads:
    """Those of one project.

    `on_late`: is called when a read ends that was left in the background.
    """

    def __init__(self, reader: UpstreamReader, project: str, on_late: Callable[[], None]) -> None:
        self._reader, self._project, self._on_late = reader, project, on_late
        self._running: dict[str, asyncio.Task[task_pb2.Task | None]] = {}
        self._turn = 0
        self._asked: dict[str, int] = {}

    async def read(self, wanted: Sequence[str], most: int, *, in_doubt: bool) -> Reads:
        """Those that were asked for longest ago first, and what the background has brought.

        Raises KeyError for a project that is not served.

        `in_doubt`: CBR may not answer at all, so that it is left alone after a few failures.
        """
        self._turn += 1
        self._asked = {task_id: self._asked.get(task_id, 0) for task_id in wanted}
        waiting = deque(
            sorted(
                (each for each in self._asked if each not in self._running),
                key=self._asked.__getitem__,
            )[:most]
        )
        found, pending = Reads(), set[asyncio.Task[task_pb2.Task | None]]()
        self._collect(found)
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + _WITHIN_S
        while (waiting or pending) and loop.time() < ends_at:
            while waiting and len(pending) < _AT_ONCE:
                pending.add(self._start(waiting.popleft()))
            _, pending = await asyncio.wait(
                pending, timeout=ends_at - loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
            self._collect(found)
            if in_doubt and len(found.failed) >= _AT_ONCE and not found.answered:
                waiting.clear()
        for task in pending:
            found.failed[task.get_name()] = _late()
            task.add_done_callback(lambda _ended: self._on_late())
        return found

    async def aclose(self) -> None:
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _start(self, task_id: str) -> asyncio.Task[task_pb2.Task | None]:
        self._asked[task_id] = self._turn
        task = self._running[task_id] = asyncio.create_task(self._get(task_id), name=task_id)
        return task

    async def _get(self, task_id: str) -> task_pb2.Task | None:
        asked = task_pb2.GetTaskRequest(task_id=task_id)
        reply = await self._reader.read(asked, task_pb2.GetTaskResponse, self._project)
        if reply is not None and reply.task.id != task_id:
            raise GatewayError(
                errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL,
                "CBR was asked for one task and has answered with another one.",
            )
        return None if reply is None else reply.task

    def _collect(self, found: Reads) -> None:
        for task_id in [task_id for task_id, task in self._running.items() if task.done()]:
            try:
                task = self._running.pop(task_id).result()
            except GatewayError as error:
                if error.code == code_pb2.INVALID_ARGUMENT:
                    # What CBR does not take for an id is the id of nothing.
                    found.absent.append(task_id)
                else:
                    found.failed[task_id] = error
            else:
                if task is None:
                    found.absent.append(task_id)
                else:
                    found.tasks[task_id] = task


def _late() -> GatewayError:
    text = (
        "CBR has not shown the task yet, although it was asked for some time ago; the gateway goes"
        " on waiting."
    )
    return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_UNAVAILABLE, text)
