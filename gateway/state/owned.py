"""The embedded store as a worker has it: every question goes to the owner, on one connection,
without waiting for the answers to others.

Where the connection ends, what was not answered is asked again on the next one, within its time:
every method bears that (`store.py`), and the socket itself outlives an owner that is replaced. So
a worker notices no more than that an answer takes longer.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import msgspec

from gateway.clock import Clock
from gateway.frames import Frames
from gateway.state import owner_wire as wire
from gateway.state.degraded import LocalShare
from gateway.state.errors import StoreDown
from gateway.state.owner_address import OwnerAddress
from gateway.state.store import Store
from gateway.state.timeouts import set_in_time

_PAUSE_S: Final = 0.05
"""Between two tries to connect."""
_text: Final = msgspec.msgpack.Decoder(str).decode


class _Asked(msgspec.Struct, frozen=True):
    """A question that has no answer yet."""

    method: wire.Method
    frame: bytes
    answer: asyncio.Future[Any]


class OwnerLink:
    """One per worker."""

    def __init__(self, address: OwnerAddress, timeout_s: float) -> None:
        self._path = str(address.socket)
        self._timeout_s = timeout_s
        self._numbers = itertools.count()
        self._waiting: dict[int, _Asked] = {}
        self._link: Frames | None = None

    async def ask(self, method: wire.Method, given: msgspec.Struct) -> Any:  # noqa: ANN401 - each method has its own
        """Raises StoreDown."""
        number = next(self._numbers)
        name = f"{method.role}.{method.name}"
        frame = wire.encoded(wire.Request(number, name, msgspec.Raw(wire.encoded(given))))
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _Asked(method, frame, answer)
        if self._link is not None:
            self._link.send(frame)
        try:
            return await set_in_time(answer, self._timeout_s)
        except TimeoutError as error:
            raise StoreDown(
                f"the owner of the store did not answer within {self._timeout_s} s"
            ) from error
        finally:
            del self._waiting[number]

    async def run(self) -> None:
        """Keeps a connection until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, link = await loop.create_unix_connection(lambda: Frames(self._hear), self._path)
            except OSError:
                await asyncio.sleep(_PAUSE_S)
                continue
            for asked in list(self._waiting.values()):
                link.send(asked.frame)
            self._link = link
            try:
                await link.lost.wait()
            finally:
                self._link = None
                link.close()

    def _hear(self, _link: Frames, frame: bytes) -> None:
        told = wire.decoded_answer(frame)
        asked = self._waiting.get(told.number)
        if asked is None or asked.answer.done():
            return
        if told.kind == wire.DOWN:
            asked.answer.set_exception(StoreDown(_text(bytes(told.value))))
        elif told.kind == wire.FAILED:
            asked.answer.set_exception(RuntimeError(_text(bytes(told.value))))
        else:
            asked.answer.set_result(asked.method.result(told))


@contextlib.asynccontextmanager
async def open_owned(address: OwnerAddress, clock: Clock, timeout_s: float) -> AsyncIterator[Store]:
    """Raises StoreDown where no owner answers."""
    link = OwnerLink(address, timeout_s)
    running = asyncio.create_task(link.run())
    roles: dict[str, Any] = {name: _Role(link, name) for name in wire.ROLES}
    limits = LocalShare(roles["rates"], roles["leases"], clock, address.workers)
    try:
        store = Store(**roles | {"rates": limits, "leases": limits})
        await store.life.epoch()
        yield store
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


class _Role:
    """All methods of one role, each asked of the owner."""

    def __init__(self, link: OwnerLink, role: str) -> None:
        for method in wire.METHODS.values():
            if method.role == role:
                setattr(self, method.name, _asking(link, method))


def _asking(link: OwnerLink, method: wire.Method) -> Callable[..., Awaitable[Any]]:
    async def ask(*given: Any, **named: Any) -> Any:  # noqa: ANN401 - as the method has it
        return await link.ask(method, method.given(*given, **named))

    return ask
