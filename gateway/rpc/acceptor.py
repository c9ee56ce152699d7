"""A server that has several calls handed over at a time.

grpc.aio asks its core for one call and, five turns of the event loop later, for the next. However
many callers there are, few calls are then carried out at once, and each turn, with its wake-up and
its system calls, does little. While there is room, this asks for many; under overload for one at a
time, since a call that waits in the core costs nothing yet.

What is overridden is no public name of gRPC's, whose version is fixed for that; a test fails where
another one has it no more.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import grpc
from grpc._cython import cygrpc
from grpc.aio import _server

AT_ONCE: Final = 64
"""As many as the floor of the calls that are carried out."""


def server(options: Sequence[tuple[str, int]], has_room: Callable[[], bool]) -> grpc.aio.Server:
    """`has_room`: whether a call that comes now need not wait."""
    made: Any = _Server(options, has_room)
    return made  # type: ignore[no-any-return]


class _Server(_server.Server):
    def __init__(self, options: Sequence[tuple[str, int]], has_room: Callable[[], bool]) -> None:
        self._loop = cygrpc.get_working_loop()
        self._server = Acceptor(self._loop, options, has_room)


class Acceptor(cygrpc.AioServer):  # type: ignore[misc]
    """Asks for calls ahead of grpc.aio's own loop, which takes one after the other."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: Sequence[tuple[str, int]],
        has_room: Callable[[], bool],
    ) -> None:
        super().__init__(loop, None, (), (), tuple(options), None)
        self._event_loop, self._has_room = loop, has_room
        self._asked: set[asyncio.Task[Any]] = set()
        self._handed_over: deque[asyncio.Task[Any]] = deque()
        self._next: asyncio.Future[Any] | None = None

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """The next call."""
        if method is not None:
            return super()._make_request_call_future(method)  # type: ignore[no-any-return]
        self._next = self._event_loop.create_future()
        self._go_on()
        return self._next

    def _go_on(self) -> None:
        if self._handed_over and self._next is not None and not self._next.done():
            call = self._handed_over.popleft()
            error = call.exception()
            if error is None:
                self._next.set_result(call.result())
            else:
                self._next.set_exception(error)
        at_once = AT_ONCE if self._has_room() else 1
        while len(self._asked) + len(self._handed_over) < at_once and self.is_running():
            asked = self._event_loop.create_task(self._request_call())
            self._asked.add(asked)
            asked.add_done_callback(self._hand_over)

    def _hand_over(self, call: "asyncio.Task[Any]") -> None:
        self._asked.discard(call)
        if call.cancelled():
            return
        call.exception()  # Told to grpc.aio, or to nobody once the server stops.
        self._handed_over.append(call)
        self._go_on()
        if not self.is_running():
            # Nobody takes them any more.
            self._handed_over.clear()
