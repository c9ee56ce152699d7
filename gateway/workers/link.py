"""Between the parent and one worker: questions and orders both ways, on a socket that both have
had since before the worker began. Nobody else can reach it, so what goes over it is pickled.
"""

import asyncio
import io
import itertools
import pickle
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import structlog

from gateway.frames import Frames
from gateway.secret import Secret

Answers: TypeAlias = Mapping[str, Callable[..., Awaitable[Any]]]
"""What the other side may ask, by name."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Gone(Exception):  # noqa: N818 - says what is the case
    """The other process has ended, or could not do what it was asked."""


class _Pickler(pickle.Pickler):
    """Of all pickles these alone hold secrets."""

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - as the library has it
        return (Secret, (value.reveal(),)) if isinstance(value, Secret) else NotImplemented


def _pickled(message: object) -> bytes:
    out = io.BytesIO()
    _Pickler(out).dump(message)
    return out.getvalue()


class Link:
    """One end."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._frames = Frames(self._hear, lambda _: self._end())
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._working: set[asyncio.Task[None]] = set()
        self.lost = self._frames.lost

    async def open(self, mine: socket.socket) -> None:
        await self._frames.open(mine)

    async def ask(self, name: str, *given: object) -> Any:  # noqa: ANN401 - each question has its own
        """Raises Gone."""
        if self.lost.is_set():
            raise Gone(name)
        number = next(self._numbers)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._frames.send(_pickled((name, number, given)))
        try:
            return await answer
        finally:
            del self._waiting[number]

    def tell(self, name: str, *given: object) -> None:
        """Asks, and waits for nothing."""
        if not self.lost.is_set():
            self._frames.send(_pickled((name, None, given)))

    def close(self) -> None:
        self._frames.close()

    def _hear(self, _frames: Frames, frame: bytes) -> None:
        name, number, given = pickle.loads(frame)  # noqa: S301 - see above
        if name:
            work = asyncio.create_task(self._work(name, number, given))
            self._working.add(work)
            work.add_done_callback(self._working.discard)
        elif (answer := self._waiting.get(number)) is not None and not answer.done():
            done, result = given
            if done:
                answer.set_result(result)
            else:
                answer.set_exception(Gone(result))

    async def _work(self, name: str, number: int | None, given: tuple[Any, ...]) -> None:
        try:
            told = (True, await self._answers[name](*given))
        except Exception as error:
            log.exception("what another process asked for failed", request=name)
            told = (False, f"{name}: {error!r}")
        if number is not None and not self.lost.is_set():
            self._frames.send(_pickled(("", number, told)))

    def _end(self) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Gone("the other process has ended"))
