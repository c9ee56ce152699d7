"""A bar for each task, on a terminal; needs the extra `bars`."""

from types import TracebackType
from typing import Self

from cbrgateway.v1 import task_pb2
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from cbrctl.progress import DONE_PERCENT, Notes, percent, state, task_in, title


class Bars:
    """A bar for each task. Nothing that comes from the gateway is taken as markup."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._bars: dict[str, TaskID] = {}
        self._notes = Notes()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, event: task_pb2.WatchTasksResponse) -> None:
        task = task_in(event)
        if task is None:
            if note := self._notes.new_in(event):
                self._progress.console.print(note, markup=False, highlight=False, soft_wrap=True)
            return
        if task.id not in self._bars:
            self._bars[task.id] = self._progress.add_task(title(task), total=DONE_PERCENT, state="")
        self._progress.update(self._bars[task.id], completed=percent(task), state=state(task))
