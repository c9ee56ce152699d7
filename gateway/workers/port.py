"""The port that workers share.

The parent holds it without listening: it stays the gateway's while workers are replaced, and it is
found out before the first one starts whether somebody else has it. Two gateways that share a port
by mistake would each get a part of the calls.
"""

import contextlib
import socket

from gateway.rpc.server import AddressInUse


def held_port(stack: contextlib.ExitStack | contextlib.AsyncExitStack, address: str) -> str:
    """The address with its real port, for workers to listen on until the stack is left.

    Raises AddressInUse.
    """
    host, _, _ = address.rpartition(":")
    held = stack.enter_context(_held(address))
    return f"{host}:{held.getsockname()[1]}"


def _held(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise AddressInUse(address) from error
    held = socket.socket(family, kind)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Without sharing it first: that would succeed beside another gateway of this user.
        held.bind(where)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        held.close()
        raise AddressInUse(address) from error
    return held
