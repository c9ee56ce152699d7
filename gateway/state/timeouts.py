"""How long a store is waited for."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


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
