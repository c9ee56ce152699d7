"""Calls that wait for their turn, one line for each tenant, served by deficit round robin: each
turn a tenant may spend so many cost units, times its weight, and keeps what it did not spend.

So nobody waits for more than a turn of each other tenant, however many calls those have waiting.
Pure: nothing here waits, and no time passes.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from gateway.limits.limits import COST

TURN_UNITS: Final = max(COST.values())
"""Enough for the dearest call, so that nobody is passed over twice."""


class Waiting(Struct, eq=False):
    """A call of `tenant` that waits since `since`, and not longer than `until`, for the result of
    `turn`.
    """

    tenant: str
    weight: int
    cost: int
    since: float
    until: float
    turn: asyncio.Future[None]


class _Line:
    """The calls of one tenant, and what it may still spend."""

    __slots__ = ("calls", "units", "weight")

    def __init__(self, weight: int) -> None:
        self.calls: deque[Waiting] = deque()
        self.weight = weight
        self.units = TURN_UNITS * weight


class FairQueue:
    """Of one process."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self.length = 0
        """Of calls that wait."""

    def __contains__(self, tenant: str) -> bool:
        """Whether a call of the tenant waits."""
        return tenant in self._lines

    def put(self, call: Waiting) -> None:
        line = self._lines.get(call.tenant)
        if line is None:
            line = self._lines[call.tenant] = _Line(call.weight)
        line.calls.append(call)
        self.length += 1

    def discard(self, call: Waiting) -> None:
        """A call that may wait here."""
        line = self._lines.get(call.tenant)
        if line is None or call not in line.calls:
            return
        line.calls.remove(call)
        self.length -= 1
        if not line.calls:
            del self._lines[call.tenant]

    def crowded(self) -> Waiting:
        """The oldest call of the tenant that has most of them waiting, for its weight."""
        line = max(self._lines.values(), key=lambda line: len(line.calls) / line.weight)
        return line.calls[0]

    def next(self, may: Callable[[str], bool], fresh_since: float) -> Waiting | None:
        """The call whose turn it is, which waits no more; None if none may be carried out.

        `may`: whether that of a tenant may. Of one whose oldest call waits since before
        `fresh_since` the newest is served: the old ones would mostly come too late, and then none
        of all that wait would be in time.
        """
        for _ in range(2 * len(self._lines)):
            tenant, line = next(iter(self._lines.items()))
            call = line.calls[0 if line.calls[0].since >= fresh_since else -1]
            if not may(tenant):
                self._lines.move_to_end(tenant)
            elif line.units < call.cost:
                line.units += TURN_UNITS * line.weight
                self._lines.move_to_end(tenant)
            else:
                line.units -= call.cost
                self.discard(call)
                return call
        return None
