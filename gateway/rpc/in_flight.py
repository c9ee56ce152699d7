"""The calls that are being carried out, and how they come to an end with the process."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, Final

from cbrgateway.v1 import errors_pb2

from gateway.errors import GatewayError
from gateway.rpc.call import Call

_RETRY_S: Final = 1.0


class InFlight:
    """One per process."""

    __slots__ = ("_calls", "_door", "_refused", "_waiting", "begun", "held")

    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[Any] | None, Call] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._refused: set[asyncio.Task[Any] | None] = set()
        self._door = asyncio.Event()
        self.held = False
        """Whether calls wait to be begun."""
        self.begun = 0
        """How many there have been."""

    @property
    def number(self) -> int:
        return len(self._calls)

    def begin(self, call: Call) -> None:
        self._calls[asyncio.current_task()] = call
        self.begun += 1

    def end(self) -> None:
        del self._calls[asyncio.current_task()]
        if self._waiting and not self._calls:
            for future in self._waiting:
                if not future.done():
                    future.set_result(None)
            self._waiting.clear()

    async def none(self) -> None:
        """Returns once there is none."""
        while self._calls:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
            await future

    # The end of the process
    # ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Until left, calls that come wait at their beginning."""
        self.held = True
        try:
            yield
        finally:
            self.held = False
            self._door.set()

    async def let_in(self) -> None:
        """Once calls are not held any more."""
        await self._door.wait()

    async def quiet(self, for_s: float, within_s: float) -> None:
        """Returns once no call has come for so long, or when the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                before = -1
                while before != self.begun:
                    before = self.begun
                    await asyncio.sleep(for_s)

    def refuse(self) -> None:
        """Ends the calls of which it is sure that they have changed nothing."""
        for task, call in self._calls.items():
            if task is not None and (call.binding.reads or call.request is None):
                self._refused.add(task)
                task.cancel()

    def why(self, error: Exception | asyncio.CancelledError) -> Exception | asyncio.CancelledError:
        """What a call has failed with, which may be that it was refused."""
        task = asyncio.current_task()
        if task not in self._refused or not isinstance(error, asyncio.CancelledError):
            return error
        assert task is not None
        self._refused.discard(task)
        task.uncancel()
        return GatewayError(
            errors_pb2.ERROR_REASON_SHUTTING_DOWN,
            "The gateway is shutting down and nothing was changed; repeat the call, and another"
            " process answers.",
            retry_after_s=_RETRY_S,
        )
