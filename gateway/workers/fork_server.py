"""The fork server as the parent has it: what it is asked for, and what it tells."""

import asyncio
import contextlib
import os
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from gateway.frames import Frames
from gateway.workers.child import Child, Ended, Keeper, NotStarted, end_of
from gateway.workers.fork_request import Request, Told

_LOOK_S: Final = 0.05


class NotForked(Exception):  # noqa: N818 - says what is the case
    """The fork server has ended before it had made the process."""


class ForkServer:
    """One that is killed is replaced; whom it has forked goes on. `modules`: what it loads beside
    what every worker needs.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self.keeper = Keeper("fork_server")
        self._there = asyncio.Event()
        self._socket: socket.socket | None = None
        self._asked: deque[asyncio.Future[Child]] = deque()
        self._children: dict[int, Child] = {}
        self._left: set[asyncio.Task[None]] = set()
        self._answered = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["asyncio.Task[None]"]:
        """The work of keeping one, which fails with NotStarted."""
        keeping = asyncio.create_task(self.keeper.run(self._once))
        try:
            yield keeping
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            for each in self._left:
                each.cancel()

    async def start(
        self, request: Request, descriptors: Sequence[int] = ()
    ) -> tuple[Child, socket.socket]:
        """A process that has these descriptors, and the socket on which it is told and tells.

        Raises NotForked.
        """
        await self._there.wait()
        mine, theirs = socket.socketpair()
        try:
            with theirs:
                return await self._forked(request, [theirs.fileno(), *descriptors]), mine
        except BaseException:
            mine.close()
            raise

    async def _forked(self, request: Request, descriptors: Sequence[int]) -> Child:
        assert self._socket is not None
        answer: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        # Where it has ended, `_lost` answers.
        with contextlib.suppress(OSError):
            # Each has descriptors, which is what keeps the system from joining two of them.
            socket.send_fds(self._socket, [msgspec.json.encode(request)], descriptors)
        return await answer

    async def _once(self) -> Ended:
        self._answered = False
        mine, theirs = socket.socketpair()
        try:
            with theirs:
                process = await _started(theirs, self._modules)
        except NotStarted as problem:
            mine.close()
            return Ended(str(problem), str(problem))
        link = Frames(lambda _link, frame: self._hear(frame))
        # The loop's own socket sends no descriptors.
        self._socket = mine.dup()
        await link.open(mine)
        self._there.set()
        try:
            await process.wait()
            # What it said last has come by then.
            await link.lost.wait()
        finally:
            link.close()
            self._lost()
            if process.returncode is None:
                # It may be loading yet, and has nothing to lose.
                process.kill()
                await process.wait()
        how = end_of(process.returncode)
        unsaid = f"the fork server has ended before it made a process: {how}; see the lines above"
        return Ended(how, None if self._answered else unsaid)

    def _hear(self, frame: bytes) -> None:
        told = msgspec.json.decode(frame, type=Told)
        if told.code is None:
            self._answered = True
            child = self._children[told.pid] = Child(told.pid)
            if not (answer := self._asked.popleft()).done():
                answer.set_result(child)
        else:
            child = self._children.pop(told.pid)
            child.code = told.code
            child.end()

    def _lost(self) -> None:
        self._there.clear()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        while self._asked:
            if not (answer := self._asked.popleft()).done():
                answer.set_exception(NotForked("the fork server has ended"))
        for child in self._children.values():
            watching = asyncio.create_task(_watched(child))
            self._left.add(watching)
            watching.add_done_callback(self._left.discard)
        self._children.clear()


async def _started(theirs: socket.socket, modules: Sequence[str]) -> asyncio.subprocess.Process:
    """It has a group of its own: what the keys of a terminal send goes to the parent alone.

    Raises NotStarted.
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "gateway.workers", str(theirs.fileno()), *modules),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=os.environ | {"PYTHONPATH": paths},
            process_group=0,
        )
    except OSError as error:
        raise NotStarted(
            f"server.workers needs {sys.executable} for its processes, which cannot be started:"
            f" {error.strerror}"
        ) from error


async def _watched(child: Child) -> None:
    """Until the end of one whose fork server has gone: only looking tells."""
    while _is_there(child):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(_LOOK_S)
    child.end()


def _is_there(child: Child) -> bool:
    try:
        # It has become ours where this process is the first one of a container.
        pid, status = os.waitpid(child.pid, os.WNOHANG)
    except ChildProcessError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, 0)
            return True
        return False
    if pid:
        child.code = os.waitstatus_to_exitcode(status)
    return not pid
