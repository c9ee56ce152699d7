"""Who may be connected to the admin port at once.

Where places are short, a newcomer gets the place of a connection whose request is not being
answered: of the address that has most of them, the one that has been silent for longest. So
connections that only stand there keep no probe out, and those of one address none of another's.
"""

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Iterator


class Places:
    """Thread-safe; each connection has a thread of its own. `most`: how many there are."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._silent: dict[socket.socket, str] = {}
        self._answered: dict[socket.socket, str] = {}
        self._own = threading.local()

    def take(self, connection: socket.socket, address: str) -> bool:
        """False: all that are there are being answered."""
        with self._lock:
            if len(self._silent) + len(self._answered) >= self._most and not self._cut():
                return False
            self._silent[connection] = address
            return True

    def enter(self, connection: socket.socket) -> None:
        """Tells whose thread calls, from now on."""
        self._own.connection = connection

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """While what this thread's connection has asked for is made."""
        connection = self._own.connection
        self._move(connection, self._silent, self._answered)
        try:
            yield
        finally:
            self._move(connection, self._answered, self._silent)

    def leave(self, connection: socket.socket) -> None:
        """Before it is closed."""
        with self._lock:
            self._silent.pop(connection, None)
            self._answered.pop(connection, None)

    def _move(
        self,
        connection: socket.socket,
        one: dict[socket.socket, str],
        other: dict[socket.socket, str],
    ) -> None:
        with self._lock:
            # One that was cut has no place any more.
            if connection in one:
                other[connection] = one.pop(connection)

    def _cut(self) -> bool:
        """Ends one; its thread wakes up and closes it."""
        if not self._silent:
            return False
        of = Counter(self._silent.values())
        # The first of those that are equal: the one that has been silent for longest.
        connection = max(self._silent, key=lambda each: of[self._silent[each]])
        del self._silent[connection]
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        return True
