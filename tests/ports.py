"""Ports for processes that are told theirs, such as those that come back after they were killed."""

import secrets
import socket


def free_port() -> int:
    """Of 127.0.0.1, and below those that systems give out by themselves: no other test takes it before the process does, or while it is down."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
