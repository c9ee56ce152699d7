"""What CBR lists of a project's tasks: all pages or an error.

Its order is no promise, and a row may change while pages are read.
"""

from typing import Final

from cbrgateway.v1 import errors_pb2, task_pb2
from msgspec import Struct, field

from gateway.errors import GatewayError
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.rows import UnreadableRow
from gateway.watch.row import created_us

_PAGE: Final = 200


class Listed(Struct, frozen=True):
    """Tasks by id, the moment since which they are all, and whether there were too many."""

    tasks: dict[str, task_pb2.Task] = field(default_factory=dict)
    since_us: int = 0
    cut: bool = False


class Lists(Struct, frozen=True):
    """`lag_us`: how late CBR may list a task; `most`: more rows are not read."""

    reader: UpstreamReader
    project: str
    lag_us: int
    most: int
    _bad: dict[str, GatewayError] = field(default_factory=dict)

    def bad(self) -> dict[str, GatewayError]:
        """Why rows could not be understood, by id, since this was last asked for."""
        found = dict(self._bad)
        self._bad.clear()
        return found

    async def opened(self) -> dict[str, task_pb2.Task]:
        """All that are open, however old.

        WAITING comes before RUNNING, so that a task which starts in between is in one of them.
        """
        found: dict[str, task_pb2.Task] = {}
        for status in (task_pb2.TASK_STATUS_WAITING, task_pb2.TASK_STATUS_RUNNING):
            rows, _ = await self._pages(task_pb2.ListTasksRequest(status=status))
            found |= {task.id: task for task in rows}
        return found

    async def newest(self) -> Listed:
        """The newest tasks, at least all that CBR may go on listing late.

        A page proves nothing of the rest unless it is in order.
        """
        page = await self._page(task_pb2.ListTasksRequest(page_size=_PAGE))
        tasks = list(page.tasks)
        if not page.next_page_token:
            return _listed(tasks, 0)
        if not tasks:
            return await self.since(0)
        moments = [created_us(task) for task in tasks]
        since_us = max(moments) - self.lag_us
        if moments == sorted(moments, reverse=True) and moments[-1] < since_us:
            return _listed(tasks, moments[-1] + 1)
        return await self.since(since_us)

    async def since(self, since_us: int) -> Listed:
        """All tasks created since then."""
        tasks, whole = await self._pages(created_since(since_us))
        return (
            _listed(tasks, since_us)
            if whole
            else _listed(tasks, min(created_us(task) for task in tasks) + 1, cut=True)
        )

    async def _pages(self, wanted: task_pb2.ListTasksRequest) -> tuple[list[task_pb2.Task], bool]:
        """The tasks, and whether they are all."""
        tasks: list[task_pb2.Task] = []
        wanted.page_size = _PAGE
        while True:
            page = await self._page(wanted)
            tasks += page.tasks
            wanted.page_token = page.next_page_token
            if not wanted.page_token or len(tasks) > self.most:
                return tasks, not wanted.page_token

    async def _page(self, asked: task_pb2.ListTasksRequest) -> task_pb2.ListTasksResponse:
        def note(row: UnreadableRow) -> None:
            if not row.id:
                return  # Nobody can name it.
            text = (
                f"What CBR lists of the task is not what its API describes: {row.problem}; report"
                " it to the gateway's operator."
            )
            self._bad[row.id] = GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)

        return await self.reader.answer(asked, task_pb2.ListTasksResponse, self.project, note)


def created_since(since_us: int) -> task_pb2.ListTasksRequest:
    """Asks for the tasks created since then."""
    wanted, seconds = task_pb2.ListTasksRequest(), max(since_us, 0) // 1_000_000
    if seconds:
        wanted.start_time.seconds = seconds
    return wanted


def _listed(tasks: list[task_pb2.Task], since_us: int, *, cut: bool = False) -> Listed:
    return Listed({task.id: task for task in tasks}, since_us, cut)
