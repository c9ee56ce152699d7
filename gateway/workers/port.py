"""The port that workers share.

The parent holds it without listening: it stays the gateway's while workers are replaced, and it is
found out before the first one starts whether somebody else has it. Two gateways that share a port
by mistake would each get a part of the calls.
"""

import contextlib
import socket
from typing import Any

from gateway.rpc.server import AddressInUse


def held_port(stack: contextlib.ExitStack | contextlib.AsyncExitStack, address: str) -> str:
    """The address with its real port, for workers to listen on until the stack is left.

    Raises AddressInUse.
    """
    host, _, _ = address.rpartition(":")
    held = stack.enter_context(_held(address))
    return f"{host}:{held.getsockname()[1]}"


def _held(address: str) -> socket.socket:
    """Of what the name stands for, the first that can be had: as gRPC does without workers."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise AddressInUse(address) from error
    for number, (family, kind, _, _, where) in enumerate(found, start=1):
        try:
            return _bound(socket.socket(family, kind), where)
        except OSError as error:
            if number == len(found):
                raise AddressInUse(address) from error
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
