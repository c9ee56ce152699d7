"""How many rows of a list fit into one answer of CBR, as it was found out.

Rows may be so large that a page of them is over what an answer may be. Then fewer are asked for at
once; what fitted is asked for in the next pages, too, instead of being found out by each of them.
"""

from collections import OrderedDict
from typing import Final

from msgspec import Struct

from gateway.clock import Clock

_KEPT_S: Final = 600.0
"""Then more are tried: the large rows may be gone."""
_MAX_LISTS: Final = 1000


class Fit(Struct):
    """Of one list. `most`: None as long as nothing was too large."""

    most: int | None = None
    since: float = 0.0

    def too_many(self, rows: int) -> None:
        self.most = min(self.most or rows, max(rows // 2, 1))


class PageFits:
    """Of the lists of all projects. One per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fits: OrderedDict[tuple[str, ...], Fit] = OrderedDict()

    def of(self, *names: str) -> Fit:
        """Of the list that these name."""
        now = self._clock.monotonic()
        fit = self._fits.pop(names, None)
        if fit is None or now - fit.since > _KEPT_S:
            fit = Fit(since=now)
        self._fits[names] = fit
        while len(self._fits) > _MAX_LISTS:
            self._fits.popitem(last=False)
        return fit
