"""Emulator time: wall time plus what the control API added.

Two readings. `now` stamps objects and moves work; it can be stepped or frozen. `front` is the clock
of the API gateway: it checks signatures and fills the Date header; it only ever differs from wall
time by a skew set on purpose, so that stepping `now` by an hour does not make every signature look
old.
"""

import time
from datetime import UTC, datetime
from email.utils import formatdate


class Clock:
    """A settable clock; all values are seconds since 1970.

    `ahead_s`: by how much it is ahead of this machine's clock from the start.
    """

    def __init__(self, *, frozen: bool = False, ahead_s: float = 0.0) -> None:
        self._offset_s = ahead_s
        self._frozen_at: float | None = time.time() if frozen else None
        self.skew_s = ahead_s

    def now(self) -> float:
        """Return emulator time."""
        base = time.time() if self._frozen_at is None else self._frozen_at
        return base + self._offset_s

    def front(self) -> float:
        """Return the time of the API gateway."""
        return time.time() + self.skew_s

    def step(self, seconds: float) -> None:
        """Move emulator time; negative steps are refused with ValueError, since objects would come
        from the future.
        """
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self._offset_s += seconds

    def freeze(self, *, frozen: bool) -> None:
        """Stop emulator time where it is, or let it run on from there."""
        if frozen and self._frozen_at is None:
            self._frozen_at = time.time()
        elif not frozen and self._frozen_at is not None:
            self._offset_s += self._frozen_at - time.time()
            self._frozen_at = None

    @property
    def frozen(self) -> bool:
        """Whether emulator time stands still."""
        return self._frozen_at is not None

    def http_date(self) -> bytes:
        """Return the value of the Date header."""
        return formatdate(self.front(), usegmt=True).encode()


def naive(moment: float | None) -> str | None:
    """Format as the service does: UTC, microseconds, no zone (`2025-03-25T06:32:07.951164`)."""
    if moment is None:
        return None
    return (
        datetime.fromtimestamp(moment, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    )


def zulu(moment: float) -> str:
    """Format as IAM does: `2025-03-25T06:32:07.951164Z`."""
    return f"{naive(moment)}Z"
