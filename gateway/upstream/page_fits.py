"""What was found out about CBR's answers to a list: how many rows fit into one, and what its count
counts.

Rows may be so large that a page of them is over what an answer may be. Then fewer are asked for at
once; what fitted is asked for in the next pages, too, instead of being found out by each of them.
"""

from collections import OrderedDict
from typing import Final

from msgspec import Struct, field

from gateway.clock import Clock

_KEPT_S: Final = 600.0
"""Then more are tried: the large rows may be gone."""
_COUNT_KEPT_S: Final = 4 * 3600.0
"""Then it is looked at again: the cloud may have changed."""
_MAX_LISTS: Final = 1000
MAX_REQUESTS: Final = 100
"""Of one list, whose counts are kept."""


class Count(Struct):
    """Of one operation of a cloud, as far as it is known (ends.py).

    `of_list`: it counts the whole list. `of_page`: it does not, or did not once. `of_one`: a list
    has ended behind one row that it counted, so that pages need not be of one row.
    """

    of_list: bool = False
    of_page: bool = False
    of_one: bool = False
    since: float = 0.0

    def look_again(self) -> None:
        self.of_list = self.of_one = False

    def doubt(self) -> None:
        """There were more rows than it counted."""
        self.look_again()
        self.of_page = True


class Fit(Struct):
    """Of one list. `most`: None as long as nothing was too large. `counted`: how many rows there
    were last, by the request.
    """

    most: int | None = None
    since: float = 0.0
    count: Count = field(default_factory=Count)
    counted: dict[bytes, int] = field(default_factory=dict)

    def too_many(self, rows: int) -> None:
        self.most = min(self.most or rows, max(rows // 2, 1))


class PageFits:
    """Of the lists of all projects. One per process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._fits: OrderedDict[tuple[str, ...], Fit] = OrderedDict()
        self._counts: dict[tuple[str, str], Count] = {}

    def of(self, endpoint: str, project: str, operation: str) -> Fit:
        """Of a project's list."""
        now, names = self._clock.monotonic(), (endpoint, project, operation)
        fit = self._fits.pop(names, None)
        if fit is None or now - fit.since > _KEPT_S:
            fit = Fit(since=now, count=self._count(now, endpoint, operation))
        self._fits[names] = fit
        while len(self._fits) > _MAX_LISTS:
            self._fits.popitem(last=False)
        return fit

    def _count(self, now: float, endpoint: str, operation: str) -> Count:
        count = self._counts.get((endpoint, operation))
        if count is None or now - count.since > _COUNT_KEPT_S:
            count = self._counts[endpoint, operation] = Count(since=now)
        return count
