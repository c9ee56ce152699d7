"""Connections of callers, of which grpc.aio knows neither address nor age: those on which nobody
has been identified are ended after a while or where there are too many, and so are the newest of an
address that has too many.

The sockets are found among this process's own descriptors, and shut down: gRPC then sees that the
other side has gone. A socket is told by its inode, so a descriptor that is used anew is another
connection. Its age is that of the look that found it: those of one look are of the same age.
"""

import asyncio
import contextlib
import os
import socket
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import structlog
from msgspec import Struct

from gateway.clock import Clock
from gateway.rpc.settings import ServerLimits

_DESCRIPTORS: Final = Path("/dev/fd")
_LOOK_S: Final = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Connection(Struct, frozen=True):
    """`peer`: as gRPC names it, `ipv4:10.0.0.1:4711`. `address`: without the port."""

    descriptor: int
    inode: int
    peer: str
    address: str
    since: float


class Connections:
    """Of callers. `identified`: the peers of calls whose caller is known."""

    def __init__(self, limits: ServerLimits, clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._open: dict[int, Connection] = {}
        self._others: dict[int, int] = {}
        """Descriptors of sockets that are no connections of callers, and their inodes."""
        self._ports: frozenset[int] = frozenset()
        self.identified: set[str] = set()
        self.ended = 0

    @contextlib.contextmanager
    def watched(self, addresses: Iterable[str]) -> Iterator[None]:
        """While callers come to those addresses."""
        self._ports = frozenset(int(each.rpartition(":")[2]) for each in addresses)
        watching = asyncio.create_task(self._watch()) if _DESCRIPTORS.is_dir() else None
        try:
            yield
        finally:
            if watching is not None:
                watching.cancel()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Ends those that there should not be."""
        self._find()
        excess = self._unknown() | self._crowded()
        for each in excess:
            _shut(each)
        if excess:
            self.ended += len(excess)
            log.warning("connections were ended", number=len(excess), open=len(self._open))

    def _find(self) -> None:
        found = {}
        # Not by Path: it would make an object of each.
        for descriptor in map(int, os.listdir(_DESCRIPTORS)):  # noqa: PTH208
            with contextlib.suppress(OSError):
                status = os.fstat(descriptor)
                if stat.S_ISSOCK(status.st_mode):
                    found[descriptor] = status.st_ino
        kept = {fd: each for fd, each in self._open.items() if found.get(fd) == each.inode}
        others = {fd: inode for fd, inode in self._others.items() if found.get(fd) == inode}
        for descriptor in found.keys() - kept.keys() - others.keys():
            each = self._connection(descriptor, found[descriptor])
            if each is None:
                others[descriptor] = found[descriptor]
            else:
                kept[descriptor] = each
        self._open, self._others = kept, others
        self.identified &= {each.peer for each in kept.values()}

    def _connection(self, descriptor: int, inode: int) -> Connection | None:
        """None: no connection of a caller."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as twin:
            if twin.family not in {socket.AF_INET, socket.AF_INET6}:
                return None
            host, port, *_ = twin.getpeername()
            # An address with a zone is written differently by everybody: it is not looked at.
            if twin.getsockname()[1] in self._ports and "%" not in host:
                address = host.removeprefix("::ffff:") if "." in host else host
                peer = (
                    f"ipv6:%5B{address}%5D:{port}" if ":" in address else f"ipv4:{address}:{port}"
                )
                return Connection(descriptor, inode, peer, address, self._clock.monotonic())
        return None

    def _unknown(self) -> set[Connection]:
        """Those on which nobody has been identified: the old ones, and the oldest of too many."""
        unknown = sorted(
            (each for each in self._open.values() if each.peer not in self.identified),
            key=lambda each: each.since,
        )
        since = self._clock.monotonic() - self._limits.identification_timeout_s
        too_many = max(0, len(unknown) - self._limits.max_unidentified_connections)
        return {each for at, each in enumerate(unknown) if at < too_many or each.since <= since}

    def _crowded(self) -> set[Connection]:
        """The newest of each address that has too many."""
        most = self._limits.max_connections_per_address
        if most is None:
            return set()
        of_address: defaultdict[str, list[Connection]] = defaultdict(list)
        for each in sorted(self._open.values(), key=lambda each: each.since):
            of_address[each.address].append(each)
        return {each for those in of_address.values() for each in those[most:]}


def _shut(connection: Connection) -> None:
    """Of this very socket, even if its descriptor is used anew meanwhile."""
    with contextlib.suppress(OSError):
        twin = socket.socket(fileno=os.dup(connection.descriptor))
        with twin:
            if os.fstat(twin.fileno()).st_ino == connection.inode:
                twin.shutdown(socket.SHUT_RDWR)
