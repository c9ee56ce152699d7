"""Keeps an owner of the embedded store, on a socket that outlives it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from gateway.config import Config
from gateway.frames import Frames
from gateway.state.owner_process import LISTENING, Order
from gateway.state.settings import MEMORY
from gateway.workers.child import Ended, Keeper, NotStarted, end_of
from gateway.workers.fork_request import Request
from gateway.workers.fork_server import ForkServer, NotForked

_END_S: Final = 10.0
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


class StoreOwner:
    """`socket`: where it is asked. `folder`: of this gateway alone."""

    def __init__(self, config: Config, folder: Path, forks: ForkServer) -> None:
        self._config, self._folder, self._forks = config, folder, forks
        self.socket = socket_in(folder)
        self.keeper = Keeper("store_owner")
        self.listening = asyncio.Event()
        self._follows = False
        self._problem = ""
        self._parent: Frames | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The work of keeping one, which fails with NotStarted. Raises NotStarted."""
        with bound(self.socket) as listener:
            listener.listen()
            keeping = asyncio.create_task(self.keeper.run(lambda: self._once(listener)))
            try:
                yield keeping
            finally:
                self.keeper.ending = True
                # It ends by itself once nobody asks it any more.
                if self._parent is not None:
                    self._parent.close()
                    await asyncio.wait({keeping}, timeout=_END_S)
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _once(self, listener: socket.socket) -> Ended:
        self.listening.clear()
        self._problem = ""
        order = msgspec.json.encode(self._order()).decode()
        request = Request("store_owner", self.keeper.name, order)
        try:
            process, mine = await self._forks.start(request, [listener.fileno()])
        except NotForked as problem:
            return Ended(str(problem), str(problem))
        self._parent = link = Frames(lambda _link, frame: self._hear(frame))
        await link.open(mine)
        try:
            await process.wait()
            # What it said last has come by then.
            await link.lost.wait()
        finally:
            link.close()
            process.kill()
        worked = self.listening.is_set()
        self._follows = self._follows or worked
        how = end_of(process.code)
        unsaid = f"the owner of the store has ended before it answered: {how}; see the lines above"
        return Ended(how, None if worked else self._problem or unsaid)

    def _hear(self, frame: bytes) -> None:
        if frame == LISTENING:
            self.listening.set()
        else:
            self._problem = frame.decode()

    def _order(self) -> Order:
        state = self._config.state
        # What is to be kept in memory goes with the folder, so that nothing is lost with an owner.
        path = self._folder / "state.db" if state.path == MEMORY else state.path
        return Order(
            path=str(path.absolute()),
            timeout_s=state.answer_timeout_s,
            replay_ttl_s=state.replay_ttl_s,
            follows=self._follows,
            log=self._config.log.model_dump_json(),
        )
