"""Ids of calls and of what they make: 128 random bits as 32 hex digits.

They are drawn from the system for many at once: a question to the system is dear where other
threads wait to run.
"""

import os
from typing import Final

_BYTES: Final = 16
_AT_ONCE: Final = 256


class Ids:
    """A stock of them. Each is given out once, also to several threads."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def __call__(self) -> str:
        if not self._ready:
            drawn = os.urandom(_BYTES * _AT_ONCE).hex()
            self._ready += [drawn[at : at + 2 * _BYTES] for at in range(0, len(drawn), 2 * _BYTES)]
        return self._ready.pop()

    def forget(self) -> None:
        """A process that was forked draws its own."""
        self._ready.clear()


new_id: Final = Ids()
os.register_at_fork(after_in_child=new_id.forget)
