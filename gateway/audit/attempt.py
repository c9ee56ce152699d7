"""How the log's threads try things: whatever happens, the thread goes on, since nobody else would
do its work.
"""

from collections.abc import Callable

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()


def problem_of(work: Callable[[], object], unexpected: str) -> str:
    """Does the work; why it failed, or nothing.

    `unexpected`: what the log says of a failure that is no OSError.
    """
    try:
        work()
    except OSError as error:
        return error.strerror or str(error)
    except Exception as error:
        log.exception(unexpected)
        return type(error).__name__
    return ""
