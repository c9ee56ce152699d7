"""Ports for processes that are told theirs, such as those that come back after they were killed."""

import os
import secrets
import socket
import weakref


def free_port() -> int:
    """Of 127.0.0.1, and below those that systems give out by themselves: no other test takes it
    before the process does, or while it is down.
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def held_port(owner: object) -> int:
    """Of 127.0.0.1, and given to nobody else as long as `owner` lives, also while the process that
    listens there is down.
    """
    holder = socket.socket()
    # With it a server can listen there all the same, as long as no other one does.
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port = free_port()
    holder.bind(("127.0.0.1", port))
    weakref.finalize(owner, os.close, holder.detach())
    return port
