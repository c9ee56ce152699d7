"""Members of CBR's answers that the protos do not model: each is logged once, within bounds that no answer can break."""

from typing import Final

import structlog

log: structlog.stdlib.BoundLogger = structlog.get_logger()

MAX_KEYS: Final = 100
"""Per message type; an answer may be a map of ids where an object was expected."""
MAX_KEY_CHARS: Final = 64


class UnknownMembers:
    """Takes the name of a message type and a key, as often as they occur, and writes a line for the first MAX_KEYS keys and one for the rest."""

    def __init__(self) -> None:
        self._seen: dict[str, set[str]] = {}

    def __call__(self, message: str, key: str) -> None:
        seen = self._seen.setdefault(message, set())
        key = key[:MAX_KEY_CHARS]
        if key in seen or len(seen) > MAX_KEYS:
            return
        seen.add(key)
        if len(seen) > MAX_KEYS:
            log.warning("answers of CBR have more members that are not modelled; they are not logged", message=message)
        else:
            log.warning("answer of CBR has a member that is not modelled", message=message, key=key)
