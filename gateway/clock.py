"""Time behind one small protocol, so that tests can step it."""

import asyncio
import time
from typing import Protocol

from google.protobuf.timestamp_pb2 import Timestamp


class Clock(Protocol):
    """Wall time for signatures and tokens, monotonic time for everything that measures."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Waits; cancellation passes through."""
        ...


class SystemClock:
    """The machine's own time. No functions of ours: every call asks many times what time it is."""

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)


def moment(seconds: float) -> Timestamp:
    """A time in seconds since 1970, as messages carry it."""
    return Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def in_words(seconds: float) -> str:
    """A span of time for people, in its two largest units: `3 days 4 hours`."""
    left, parts = int(seconds), []
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "less than a second"
