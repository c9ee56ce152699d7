"""The waits of callers, which can be ended all at once."""

import asyncio
from collections.abc import Callable
from types import TracebackType


class Waits:
    """Those of one process."""

    def __init__(self) -> None:
        self._open: set[Wait] = set()
        self.ended = False

    def begin(self, on_end: Callable[[], Exception]) -> "Wait":
        """A context manager around a wait, which raises what `on_end` makes when it is ended from
        outside. Raises it at once when they are ended already.
        """
        if self.ended:
            raise on_end()
        return Wait(self._open, on_end)

    def end(self) -> None:
        """Ends all waits that are open, and all that are begun from now on."""
        self.ended = True
        for wait in list(self._open):
            wait.end()


class Wait:
    """What asyncio.timeout does, without a time and its timer."""

    __slots__ = ("_cancels", "_ended", "_on_end", "_open", "_task")

    def __init__(self, opened: "set[Wait]", on_end: Callable[[], Exception]) -> None:
        self._open = opened
        self._on_end = on_end
        self._ended = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancels = task, task.cancelling()
        self._open.add(self)

    def end(self) -> None:
        self._open.discard(self)
        self._ended = True
        self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.discard(self)
        if (
            self._ended
            and self._task.uncancel() <= self._cancels
            and kind is asyncio.CancelledError
        ):
            raise self._on_end() from None
