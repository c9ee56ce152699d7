"""Keeps an owner of the embedded store, on a socket that outlives it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from gateway.config import Config
from gateway.frames import Frames
from gateway.state.owner_process import BEGIN, LISTENING, Order
from gateway.state.settings import MEMORY
from gateway.workers.child import Ended, Keeper, NotStarted, end_of, started

_MODULE: Final = "gateway.state.owner_process"
_END_S: Final = 10.0
_SPARE_S: Final = 2.0
"""Between two looks for it; a start of the gateway has the processors for itself until then."""
_MODE: Final = 0o600


def socket_in(folder: Path) -> Path:
    """Where the owner of a gateway with this folder is asked."""
    return folder / "store.sock"


def bound(path: Path) -> socket.socket:
    """Raises NotStarted."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(_MODE)
    except OSError as error:
        listener.close()
        raise NotStarted(
            f"the store's owner cannot listen at {path}: {error}. Name another folder in TMPDIR;"
            " the path of a socket has some 100 characters at most"
        ) from error
    return listener


class _Process(Struct, frozen=True):
    """An owner, or one that stands by, and the connection to it."""

    process: asyncio.subprocess.Process
    link: Frames

    async def left(self) -> None:
        """Has it end by itself."""
        self.link.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self.process.wait()
        self.kill()

    def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()


class StoreOwner:
    """`socket`: where it is asked. `folder`: of this gateway alone."""

    def __init__(self, config: Config, folder: Path) -> None:
        self._config, self._folder = config, folder
        self.socket = socket_in(folder)
        self.keeper = Keeper("store_owner")
        self.listening = asyncio.Event()
        self._follows = False
        self._problem = ""
        self._parent: Frames | None = None
        self._spare: _Process | None = None
        """It has loaded its code, which takes long on a busy machine, and waits for its turn."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The work of keeping one, which fails with NotStarted. Raises NotStarted."""
        with bound(self.socket) as listener:
            listener.listen()
            keeping = asyncio.create_task(self.keeper.run(lambda: self._once(listener)))
            standing_by = asyncio.create_task(self._keep_spare(listener))
            try:
                yield keeping
            finally:
                self.keeper.ending = True
                standing_by.cancel()
                await asyncio.gather(standing_by, return_exceptions=True)
                if (spare := self._take_spare()) is not None:
                    await spare.left()
                # It ends by itself once nobody asks it any more.
                if self._parent is not None:
                    self._parent.close()
                await asyncio.wait({keeping}, timeout=_END_S)
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _once(self, listener: socket.socket) -> Ended:
        self.listening.clear()
        self._problem = ""
        if (one := self._take_spare()) is not None:
            one.link.send(BEGIN)
        else:
            one = await self._started(listener, waits=False)
        self._parent = one.link
        try:
            await one.process.wait()
            # What it said last has come by then.
            await one.link.lost.wait()
        finally:
            one.link.close()
            one.kill()
        worked = self.listening.is_set()
        self._follows = self._follows or worked
        how = end_of(one.process)
        unsaid = f"the owner of the store has ended before it answered: {how}; see the lines above"
        return Ended(how, None if worked else self._problem or unsaid)

    async def _started(self, listener: socket.socket, *, waits: bool) -> _Process:
        mine, theirs = socket.socketpair()
        with theirs:
            order = msgspec.json.encode(self._order(listener, theirs, waits=waits)).decode()
            process = await started(_MODULE, order, (listener.fileno(), theirs.fileno()))
        link = Frames(lambda _link, frame: self._hear(frame))
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=mine)
        return _Process(process, link)

    async def _keep_spare(self, listener: socket.socket) -> None:
        """Has one stand by while there is an owner that answers."""
        while True:
            await self.listening.wait()
            await asyncio.sleep(_SPARE_S)
            if self._spare is None or self._spare.process.returncode is not None:
                self._spare = await self._started(listener, waits=True)

    def _take_spare(self) -> _Process | None:
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.process.returncode is None else None

    def _hear(self, frame: bytes) -> None:
        if frame == LISTENING:
            self.listening.set()
        else:
            self._problem = frame.decode()

    def _order(self, listener: socket.socket, parent: socket.socket, *, waits: bool) -> Order:
        state = self._config.state
        # What is to be kept in memory goes with the folder, so that nothing is lost with an owner.
        path = self._folder / "state.db" if state.path == MEMORY else state.path
        return Order(
            path=str(path.absolute()),
            timeout_s=state.answer_timeout_s,
            replay_ttl_s=state.replay_ttl_s,
            listener=listener.fileno(),
            parent=parent.fileno(),
            follows=self._follows or waits,
            log=self._config.log.model_dump_json(),
            waits=waits,
        )
