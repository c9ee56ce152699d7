"""A limit on how long tasks wait, with one timer for all of them: whose wait began first is late
first. A timer for each would cost more than most of what is waited for.
"""

import asyncio
from types import TracebackType
from typing import Any, TypeAlias

_Task: TypeAlias = asyncio.Task[Any] | None


class TimeLimit:
    """`with` it around a wait raises TimeoutError once that has lasted `within_s`. A task is within
    it once at a time.
    """

    def __init__(self, within_s: float) -> None:
        self.within_s = within_s
        self._late_at: dict[_Task, float] = {}
        self._cancels: dict[_Task, int] = {}
        """How often each was cancelled before, of those that are late."""
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._late_at[asyncio.current_task()] = loop.time() + self.within_s
        if self._timer is None:
            self._timer = loop.call_later(self.within_s, self._ring)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        task = asyncio.current_task()
        if self._late_at.pop(task, None) is not None:
            return
        assert task is not None
        cancels = self._cancels.pop(task)
        if task.uncancel() <= cancels and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def shorten(self, within_s: float) -> None:
        """From now on nobody waits for longer than that, nor those who wait already."""
        self.within_s = min(self.within_s, within_s)
        if self._timer is not None:
            self._timer.cancel()
            latest = asyncio.get_running_loop().time() + self.within_s
            self._late_at = {task: min(at, latest) for task, at in self._late_at.items()}
            self._ring()

    def _ring(self) -> None:
        self._timer, loop = None, asyncio.get_running_loop()
        while self._late_at:
            task, late_at = next(iter(self._late_at.items()))
            if late_at > loop.time():
                self._timer = loop.call_at(late_at, self._ring)
                return
            assert task is not None
            del self._late_at[task]
            self._cancels[task] = task.cancelling()
            task.cancel()
