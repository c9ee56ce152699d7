"""How many calls are worth carrying out at once: fewer while the event loop is late, more while it
is not and calls wait (additive increase, multiplicative decrease).

What calls wait for elsewhere, such as slow answers of CBR, does not make the loop late; so it
lowers nothing, as a limit by how long calls take would.
"""

from typing import Final

LOOK_S: Final = 0.05
"""Between two looks at how late the loop is."""
LATE_S: Final = 0.01
"""Of the loop. A call comes to it some ten times, and so would take a tenth of a second."""
_SMOOTHING: Final = 0.3
"""What the last look counts beside those before it: one pause is no overload."""
_DECREASE: Final = 0.85
_INCREASE: Final = 4


class AdaptiveLimit:
    """Between a floor and a ceiling, where it begins."""

    def __init__(self, floor: int, ceiling: int) -> None:
        self._floor, self._ceiling = floor, max(floor, ceiling)
        self.value = self._ceiling
        self._late_s = 0.0

    def look(self, late_s: float, running: int) -> None:
        """`late_s`: how late the loop was just now, while so many calls were carried out."""
        self._late_s += _SMOOTHING * (max(0.0, late_s) - self._late_s)
        if self._late_s > LATE_S:
            self.value = max(self._floor, int(min(self.value, running) * _DECREASE))
        else:
            self.value = min(self._ceiling, self.value + _INCREASE)
