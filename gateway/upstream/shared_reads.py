"""Reads that several ask for at once are made once.

Whoever asks while one is under way gets the next: no answer is older than its question.

So hundreds of changes whose outcomes are looked for at the same moment read the list of their
project a few times, not each for itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar, cast

from msgspec import Struct, field

from gateway.errors import GatewayError

T = TypeVar("T")


class _Reads(Struct):
    """Of one thing.

    `begun` and `ended`: their numbers; `answer` and `failure`: of the last that ended; `askers`:
    who waits for one.
    """

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    begun: int = 0
    ended: int = 0
    answer: object = None
    failure: GatewayError | None = None
    askers: int = 0


class SharedReads:
    """Only what is being read takes memory. One who goes away takes no answer from the others."""

    def __init__(self) -> None:
        self._reads: dict[Hashable, _Reads] = {}

    async def answer(self, what: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """What `read` answers, or another's of the same `what` that began after this call.

        Nobody may change it. Raises as `read`.
        """
        reads = self._reads.setdefault(what, _Reads())
        wanted = reads.begun + 1
        reads.askers += 1
        try:
            async with reads.turn:
                if reads.ended < wanted:
                    await self._read(reads, read)
            if reads.failure is not None:
                raise reads.failure
            return cast("T", reads.answer)
        finally:
            reads.askers -= 1
            if not reads.askers:
                del self._reads[what]

    async def _read(self, reads: _Reads, read: Callable[[], Awaitable[Any]]) -> None:
        reads.begun += 1
        number = reads.begun
        answer, failure = None, None
        try:
            answer = await read()
        except GatewayError as error:
            failure = error
        reads.ended, reads.answer, reads.failure = number, answer, failure
