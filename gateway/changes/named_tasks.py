"""Work in the background under names, of which each is done once at a time."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any


class NamedTasks:
    """Those of one process."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Nothing, where the same is being done already."""
        if name in self._tasks:
            work.close()
            return
        task = asyncio.create_task(work)
        self._tasks[name] = task
        task.add_done_callback(lambda _task: self._tasks.pop(name, None))

    async def aclose(self) -> None:
        ending = list(self._tasks.values())
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
