"""How many calls are worth carrying out at once: fewer while the event loop has no time left, more
while it has (additive increase, multiplicative decrease).

What calls wait for elsewhere, such as slow answers of CBR, takes none of the loop's time; so it
lowers nothing, as a limit by how long calls take would.
"""

import time
from pathlib import Path
from typing import Final

LOOK_S: Final = 0.05
"""Between two looks at the loop."""
LATE_S: Final = 0.02
"""Of the loop's own timers."""
BUSY: Final = 0.9
"""The share of its time in which the loop works, or would if other processes let it."""
_SMOOTHING: Final = 0.3
"""What the last look counts beside those before it: one pause is no overload."""
_DECREASE: Final = 0.85
_INCREASE: Final = 4
_SCHEDULED: Final = Path("/proc/thread-self/schedstat")


class AdaptiveLimit:
    """Between a floor and a ceiling, where it begins."""

    def __init__(self, floor: int, ceiling: int) -> None:
        self._floor, self._ceiling = floor, max(floor, ceiling)
        self.value = self._ceiling
        self._late_s = self._busy = 0.0

    def look(self, late_s: float, busy: float, running: int) -> None:
        """`late_s`: how late the loop came just now; `busy`: its share since the last look, with so
        many calls carried out.
        """
        self._late_s += _SMOOTHING * (max(0.0, late_s) - self._late_s)
        self._busy += _SMOOTHING * (busy - self._busy)
        if self._late_s > LATE_S or self._busy > BUSY:
            self.value = max(self._floor, int(min(self.value, running) * _DECREASE))
        else:
            self.value = min(self._ceiling, self.value + _INCREASE)


class LoopShare:
    """How busy the thread of the event loop is; asked in that thread."""

    def __init__(self) -> None:
        self._last = self._read()

    def __call__(self) -> float:
        """The share of the time since the last call, from 0 to 1."""
        (before, used_before), (now, used) = self._last, self._read()
        self._last = now, used
        return min(1.0, (used - used_before) / (now - before)) if now > before else 0.0

    def _read(self) -> tuple[float, float]:
        try:
            ran, waited, *_ = _SCHEDULED.read_text(encoding="ascii").split()
        except OSError:
            # Only Linux tells for how long others had the thread's core.
            return time.monotonic(), time.thread_time()
        return time.monotonic(), (int(ran) + int(waited)) / 1e9
