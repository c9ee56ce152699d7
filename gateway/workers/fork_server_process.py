"""The fork server: `python -m gateway.workers DESCRIPTOR MODULE...`, started by the parent, at the
other end of that socket.

It loads what workers and the owner of the store run, once, and is forked for each of them: none
has to load it again. It has no threads, and no library in it has begun to work, gRPC's least of
all, which may be forked until then.

Whoever ends all processes of a gateway at once means the parent: this one ends when that has gone.
"""

import contextlib
import gc
import os
import select
import signal
import socket
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from gateway.frames import framed
from gateway.loops import loop_factory
from gateway.signals import Signals
from gateway.state import owner_process
from gateway.workers import worker
from gateway.workers.fork_request import Request, Told

_IGNORED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_REQUEST_BYTES: Final = 1 << 16
_DESCRIPTORS: Final = 4
_NAME_CHARS: Final = 15
Work = Callable[[], None]


def main(descriptor: int, modules: Sequence[str]) -> None:
    """Returns at the end of the fork server, and of each process that was forked. `modules`: what
    is loaded for them.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    for each in modules:
        import_module(each)
    # It loads its library.
    loop_factory()
    _name("fork_server")
    # What is loaded stays, and stays shared: a collection of garbage would write to all of it.
    gc.freeze()
    with socket.socket(fileno=descriptor) as parent:
        work = _serve(parent)
    if work is not None:
        work()


def _serve(parent: socket.socket) -> Work | None:
    """Returns in each process that was forked, with its work, and at the end of the parent."""
    bell, ring = socket.socketpair()
    with bell, ring:
        bell.setblocking(False)  # noqa: FBT003 - as the library
        ring.setblocking(False)  # noqa: FBT003 - as the library
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(ring.fileno())
        try:
            return _until_forked(parent, bell)
        except (BrokenPipeError, ConnectionResetError):
            return None
        finally:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _until_forked(parent: socket.socket, bell: socket.socket) -> Work | None:
    while True:
        ready, _, _ = select.select([parent, bell], [], [])
        if bell in ready:
            bell.recv(_REQUEST_BYTES)
            _tell_ends(parent)
        if parent not in ready:
            continue
        data, descriptors, _, _ = socket.recv_fds(parent, _REQUEST_BYTES, _DESCRIPTORS)
        if not data:
            return None
        request = msgspec.json.decode(data, type=Request)
        if not (pid := os.fork()):
            return lambda: _begin(request, descriptors)
        for each in descriptors:
            os.close(each)
        _tell(parent, Told(pid))


def _tell_ends(parent: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            _tell(parent, Told(ended[0], os.waitstatus_to_exitcode(ended[1])))


def _tell(parent: socket.socket, told: Told) -> None:
    parent.sendall(framed(msgspec.json.encode(told)))


def _begin(request: Request, descriptors: Sequence[int]) -> None:
    _name(request.name)
    _WORKS[request.works](request.order, descriptors)


def _name(name: str) -> None:
    """As `ps` shows it, where the system has that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(f"cbr {name}"[:_NAME_CHARS])


def _worker(_order: str, descriptors: Sequence[int]) -> None:
    """As `gateway.__main__`, but that its code is loaded."""
    signals = Signals()
    with signals.installed():
        from gateway import stderr  # noqa: PLC0415 - structlog is asked for after signals are heard

        stderr.install()
        worker.main(descriptors[0], signals)


def _owner(order: str, descriptors: Sequence[int]) -> None:
    gc.enable()
    parent, listener = descriptors
    owner_process.main(order, listener, parent)


_WORKS: Final = {"worker": _worker, "store_owner": _owner}
