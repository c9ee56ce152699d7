"""Ports: who may have one, and why not.

The parent of workers holds theirs without listening: it stays the gateway's while workers are
replaced, and it is found out before the first one starts whether somebody else has it. Two gateways
that share a port by mistake would each get a part of the calls.
"""

import contextlib
import errno
import socket
from typing import Any, Final

_FORBIDDEN: Final = (
    "this user may not listen on it. Choose a port from 1024 on, or give the process the capability"
    " NET_BIND_SERVICE"
)
_WHY: Final = {
    errno.EADDRINUSE: "the port is taken. Choose another one or stop the other process",
    errno.EADDRNOTAVAIL: "the address is not one of this machine. Choose one that is",
    errno.EACCES: _FORBIDDEN,
    errno.EPERM: _FORBIDDEN,
}
_UNKNOWN: Final = (
    "the port is taken, or the address is not one of this machine. Choose another one or stop the"
    " other process"
)


class AddressInUse(Exception):  # noqa: N818 - says what is the case
    """An address cannot be listened on. `why`: as far as the system says it."""

    def __init__(self, address: str, why: OSError | None) -> None:
        number = why.errno if why is not None else None
        if isinstance(why, socket.gaierror):
            text = f"there is no such name ({why.strerror}). Choose an address of this machine"
        else:
            text = _WHY.get(number or 0, _UNKNOWN)
        super().__init__(f"cannot listen on {address}: {text}")
        self.address = address
        self.taken = number == errno.EADDRINUSE
        """Whether another process has the port."""


def refused(address: str) -> OSError | None:
    """Why it cannot be listened on now; None where it can."""
    try:
        _held(address).close()
    except OSError as error:
        return error
    return None


def held_port(stack: contextlib.ExitStack | contextlib.AsyncExitStack, address: str) -> str:
    """The address with its real port, for others to listen on until the stack is left.

    Raises AddressInUse.
    """
    host, _, _ = address.rpartition(":")
    try:
        held = stack.enter_context(_held(address))
    except OSError as error:
        raise AddressInUse(address, error) from error
    return f"{host}:{held.getsockname()[1]}"


def _held(address: str) -> socket.socket:
    """Of what the name stands for, the first that can be had: as gRPC does without workers.

    Raises OSError.
    """
    host, _, port = address.rpartition(":")
    found = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for number, (family, kind, _, _, where) in enumerate(found, start=1):
        try:
            return _bound(socket.socket(family, kind), where)
        except OSError:
            if number == len(found):
                raise
    raise AssertionError


def _bound(held: socket.socket, where: tuple[Any, ...]) -> socket.socket:
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Without sharing it first: that would succeed beside another gateway of this user.
        held.bind(where)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        held.close()
        raise
    return held
