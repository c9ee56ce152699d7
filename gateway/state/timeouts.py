"""How long a store is waited for."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def set_in_time(answer: asyncio.Future[T], timeout_s: float) -> T:
    """As `answer_of`, of what somebody else sets: it takes no task. Once given up it is done."""
    waiting = _TwoHalves(answer, timeout_s / 2)
    try:
        return await answer
    finally:
        waiting.timer.cancel()


class _TwoHalves:
    """Ends the wait for an answer with TimeoutError once both halves of its time are over."""

    def __init__(self, answer: asyncio.Future[T], half_s: float) -> None:
        self._answer, self._half_s = answer, half_s
        self.timer = answer.get_loop().call_later(half_s, self._first_over)

    def _first_over(self) -> None:
        self.timer = self._answer.get_loop().call_later(self._half_s, self._both_over)

    def _both_over(self) -> None:
        if not self._answer.done():
            self._answer.set_exception(TimeoutError())


async def answer_of(question: Awaitable[T], timeout_s: float) -> T:
    """Raises what the question raises, and TimeoutError; it is cancelled then, and also with its
    caller.

    The time comes in two halves. If this process itself stood still through the first, for want of
    its processor or in one long step, then the answer that came meanwhile is read in the second: a
    store is down when it does not answer while somebody listens.
    """
    asked = asyncio.ensure_future(question)
    # Who has gone reads no exception.
    asked.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        for _ in range(2):
            done, _ = await asyncio.wait({asked}, timeout=timeout_s / 2)
            if done:
                return asked.result()
        raise TimeoutError
    finally:
        if not asked.done():
            asked.cancel()
            await asyncio.wait({asked})
