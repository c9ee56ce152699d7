"""Rows that came to the front of a list while it was paged: new ones, and those that moved there
from a page that was not read yet, so that no page has shown them.

A count that was the same all the time, and as many rows shown, prove that there are none. Else the
first window is read again at the end of a list of several pages, and what stands in it before the
first row that was shown comes last; where that row is gone, nothing tells which rows these are.
"""

from msgspec.structs import replace

from gateway.upstream.place import Place, Step
from gateway.upstream.ways import BY_ROW, FRONT, WAYS
from gateway.upstream.windows import Reader, Source


async def with_front(source: Source, place: Place, last: Step, size: int) -> Step:
    """The end of a list, or the rows that have come to its front since."""
    shown = place.trail.then(last.rows, last.total)
    if place.way == FRONT or not place.trail.shown or shown.total == shown.shown:
        return last
    if source.count.of_list and shown.total is not None and not shown.doubtful:
        return last
    came = await front(source, Place(shown, FRONT, 0, last.longest), size)
    if not came.rows:
        return last
    return replace(last, ended=False) if last.rows else came


async def front(source: Source, place: Place, size: int) -> Step:
    """The rows before the first one that was shown, behind as many of them as the cursor says."""
    given, trail = int(place.cursor), place.trail
    for limit in (source.usual, source.most):
        seen = await Reader(source, BY_ROW, limit).read(WAYS[BY_ROW].start)
        end = trail.first_in(seen.rows)
        if end is not None or len(seen.rows) < limit:
            break
    hit = trail.newest_in(seen.rows, None) if given else None
    first = hit.index + 1 if hit and hit.number == trail.shown - 1 else 0
    rows = seen.rows[first : end or 0]
    return Step(
        rows[:size],
        range(given + 1, given + 1 + len(rows[:size])),
        FRONT,
        seen.window.total,
        ended=len(rows) <= size,
        longest=place.longest,
    )
