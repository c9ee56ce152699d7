"""Where somebody stands in a list of CBR, and the rows that come next, of a list that is there as a
whole (walk.py: of one that is read in windows).
"""

from collections.abc import Sequence

from cbrgateway.v1 import errors_pb2
from msgspec import Struct
from msgspec.structs import replace

from gateway.errors import GatewayError
from gateway.upstream.left_out import left_out
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

    `of_cbr`: as long as these are the same ones, all of them have to come; one or two that were
    left out, because they moved, come last. `in_order`: as CBR shows them, so that they have to
    stand as before. Raises GatewayError where that is not so.
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
    ended = last == len(rows)
    more: Sequence[Row] = ()
    if of_cbr and ended and shown.total is not None:
        found = left_out(rows, shown, every)
        if found is None or len(found) > size:
            raise no_list() if in_order else _no_order()
        # The next page is for those that this one has no room for.
        ended = len(found) <= size - (last - first)
        more = found if ended else ()
    return Step(
        [*rows[first:last], *more],
        [*range(first + 1, last + 1), *[last] * len(more)],
        BY_ROW,
        every.names,
        ended=ended,
        longest=place.longest,
    )


def no_list() -> GatewayError:
    text = (
        "The pages that CBR answers do not make up a list: they repeat, or leave rows out;"
        " report it to the gateway's operator."
    )
    return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)


def _no_order() -> GatewayError:
    text = (
        "Rows have changed their places in the order while the list was paged: begin again without"
        " page_token, with a page_size that holds all rows, or order_by fields that stay as they"
        " are, such as created_at."
    )
    return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)
