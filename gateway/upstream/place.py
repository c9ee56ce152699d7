"""Where somebody stands in a list of CBR, and the rows that come next, of a list that is there as a
whole (walk.py: of one that is read in windows).
"""

from collections.abc import Sequence

from cbrgateway.v1 import errors_pb2
from msgspec import Struct
from msgspec.structs import replace

from gateway.errors import GatewayError
from gateway.upstream.rows import Row
from gateway.upstream.trail import NOTHING, Trail
from gateway.upstream.ways import BY_ROW, Cursor
from gateway.upstream.windows import NO_WINDOW, Longest


class Place(Struct, frozen=True):
    """Where somebody stands in a list: the rows that were shown, and where the last one was, in the
    way (an index of WAYS) that was right then.
    """

    trail: Trail = NOTHING
    way: int = 0
    cursor: Cursor = 0
    longest: Longest = NO_WINDOW


class Step(Struct, frozen=True):
    """The next rows, each with its cursor; `total` as a trail keeps it. `ended`: there are no
    more.
    """

    rows: Sequence[Row]
    cursors: Sequence[Cursor]
    way: int
    total: int | None
    ended: bool
    longest: Longest = NO_WINDOW

    def place(self, before: Trail) -> Place:
        """Where one stands after it."""
        return Place(before.then(self.rows, self.total), self.way, self.cursors[-1], self.longest)

    def first(self, count: int) -> "Step":
        """Its first rows; the others are left for the next step."""
        if count >= len(self.rows):
            return self
        return replace(self, rows=self.rows[:count], cursors=self.cursors[:count], ended=False)


def rest(
    rows: Sequence[Row], place: Place, size: int, *, of_cbr: bool = False, in_order: bool = False
) -> Step:
    """The rows after a place, of a list that is there as a whole.

    `of_cbr`: as long as these are the same ones, all of them have to come. `in_order`: as CBR shows
    them, so that they have to stand as before. Raises GatewayError where that is not so.
    """
    if in_order and place.trail.scattered(rows):
        raise no_list()
    first = 0
    if place.trail.shown and (
        hit := place.trail.newest_in(rows, int(place.cursor) - 1, whole=True)
    ):
        first = hit.index + 1
    last = min(first + size, len(rows))
    every = NOTHING.then(rows) if of_cbr else NOTHING
    shown = place.trail.then(rows[first:last], every.names)
    if of_cbr and last == len(rows) and shown.total is not None and not shown.shows_the_same(every):
        raise no_list()
    return Step(
        rows[first:last],
        range(first + 1, last + 1),
        BY_ROW,
        every.names,
        ended=last == len(rows),
        longest=place.longest,
    )


def no_list() -> GatewayError:
    text = (
        "The pages that CBR answers do not make up a list: they repeat, or leave rows out;"
        " report it to the gateway's operator."
    )
    return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)
