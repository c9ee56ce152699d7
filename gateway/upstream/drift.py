"""Where CBR's answers differ from their description: counted, and each place logged once, within
bounds that no answer can break.
"""

from collections import Counter
from typing import Final

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MAX_KEYS: Final = 100
"""Of one message in one operation's answers; there may be a map of ids in an object's place."""
MAX_KEY_CHARS: Final = 64


class Drift:
    """Takes each member that was not taken over, as often as that occurs; logs the first MAX_KEYS
    keys of a message, and once that there are more.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], set[tuple[str, bool]]] = {}
        self.unknown: Counter[str] = Counter()
        """Members that are not modelled, of messages that do not keep them, by operation."""
        self.unreadable: Counter[str] = Counter()
        """Members and rows that cannot be read, by operation."""

    def __call__(self, operation: str, message: str, key: str, problem: str) -> None:
        (self.unreadable if problem else self.unknown)[operation] += 1
        seen = self._seen.setdefault((operation, message), set())
        key = key[:MAX_KEY_CHARS]
        if (key, bool(problem)) in seen or len(seen) > MAX_KEYS:
            return
        seen.add((key, bool(problem)))
        if len(seen) > MAX_KEYS:
            log.warning(
                "answers of CBR differ in more members; they are not logged",
                operation=operation,
                message=message,
            )
        elif problem:
            log.warning(
                "answer of CBR has a member that cannot be read",
                operation=operation,
                message=message,
                key=key,
                problem=problem,
            )
        else:
            log.warning(
                "answer of CBR has a member that is not modelled",
                operation=operation,
                message=message,
                key=key,
            )
