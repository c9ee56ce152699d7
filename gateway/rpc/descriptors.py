"""File descriptors: what connections of callers leave for the rest of the process."""

import resource
from typing import Final

import structlog

_OWN: Final = 128
"""For the store, the audit log, health, probes and files that are read anew."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def connections(wanted: int, upstream: int, listeners: int = 1) -> int:
    """How many connections of callers may be open at each of the listeners: fewer than wanted, and
    a warning, where the process may open too few files. `upstream`: connections to the cloud.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * listeners + upstream + _OWN
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return wanted
    room = max(1, (limit - upstream - _OWN) // listeners)
    log.warning(
        "the limit of open files is too low for server.limits.max_connections, fewer are taken:"
        " raise it (ulimit -n, LimitNOFILE)",
        limit=limit,
        needed=needed,
        max_connections=room,
    )
    return room
