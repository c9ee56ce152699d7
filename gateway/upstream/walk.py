"""Reads a list of CBR from where the caller stands, whatever rule CBR follows when it cuts the list
into windows.

No rule is trusted; a rule only tells where to look. What is assumed is that a window shows rows as
they follow each other in the list at one moment, in an order that does not change. So what follows
in a window behind a row that was shown comes next, wherever that window was looked for, and
whatever was deleted or inserted meanwhile. A window that shows no such row proves nothing: then the
list is searched from its start, in each way in which CBR could page. Rows may be shown twice where
many were deleted at once, and are never left out; a list that can be read in no way ends as
UPSTREAM_PROTOCOL.

A row that cannot be read is a row here as any other, told from the others by its JSON.

Windows that cannot overlap, as pages that are counted, join if the first still ends with the same
row once the second was read.

The end is behind a window that is shorter than another was, when CBR's count or an empty window
confirms it; or behind one that is joined to an empty one. CBR's count alone is trusted of a window
at the start of the list, and of one where nothing at all has changed. Where rows come round again,
or there is no end to new ones, a list ends as UPSTREAM_PROTOCOL, too (trail.py).
"""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

from msgspec.structs import replace

from gateway.upstream.advance import advance, cut
from gateway.upstream.ends import is_last
from gateway.upstream.front import front, with_front
from gateway.upstream.place import Place, Step, no_list
from gateway.upstream.rows import Row
from gateway.upstream.ways import BY_ROW, FRONT, WAYS, Cursor
from gateway.upstream.windows import LostError, Reader, Source

_OTHER_BOUNDS: Final = 7
"""Rows less than at most, so that a window does not end where others did."""
_ROUNDS: Final = 2
"""How often a list is searched in each way; rows may change while it is."""

_Read: TypeAlias = Callable[[Source, Place, int], Awaitable[Step]]


async def step(source: Source, place: Place, size: int) -> Step:
    """The rows after a place, at least one unless the list has ended, at most `size`.

    Raises GatewayError.
    """
    for read in _reads(source, place):
        try:
            found = await read(source, place, size)
            if found.ended:
                found = await with_front(source, place, found, size)
        except LostError:
            continue
        if found.ended and not await _complete(source, place, found):
            break
        return found
    raise no_list()


async def _complete(source: Source, place: Place, last: Step) -> bool:
    """Whether a list has ended with all its rows.

    Where that is in doubt it is read once more, from its start, in windows that begin elsewhere:
    rows that are not those which were shown stand in no order, unless CBR counts others by now.
    """
    shown = place.trail.then(last.rows, last.total)
    # A row that came to the front may have been shown, and another one not.
    moved = last.way == FRONT and shown.total is not None and source.count.of_list
    if not place.trail.shown or not (shown.doubtful or moved):
        return True
    way = BY_ROW if last.way == FRONT else last.way
    here = Place(way=way, cursor=WAYS[way].start)
    while not here.trail.endless:
        try:
            some = await advance(source, here, max(source.most - _OTHER_BOUNDS, 1), sure=False)
        except LostError:
            return False
        trail = here.trail.then(some.rows, some.total)
        if some.ended:
            return trail.total != shown.total or trail.shows_the_same(shown)
        here = some.place(here.trail)
    return False


def _reads(source: Source, place: Place) -> Iterator[_Read]:
    """How the rows after a place may be found, one after the other."""
    if place.trail.endless:
        return
    if place.way == FRONT:
        yield front
        return
    yield advance
    ways = sorted(range(source.ways), key=lambda way: way != place.way)
    for way in ways * _ROUNDS:
        yield partial(_search, way)
    yield _from_one_window


async def everything(source: Source) -> list[Row]:
    """All rows. Raises GatewayError."""
    found: list[Row] = []
    place = Place()
    while True:
        some = await step(source, place, source.usual)
        found += some.rows
        if some.ended:
            return found
        place = some.place(place.trail)


async def _search(way: int, source: Source, place: Place, size: int) -> Step:
    """Reads the list from its start until it shows the last row of the trail, or to its end for the
    newest one that is still there.
    """
    trail, best = place.trail, -1
    after: list[tuple[Row, Cursor]] = []
    here = Place(way=way, cursor=WAYS[way].start)
    while True:
        some = await advance(source, here, source.usual, sure=False)
        for index, (row, cursor) in enumerate(
            zip(some.rows, some.cursors, strict=True), here.trail.shown
        ):
            number = trail.number_of(row, index)
            if number > best:
                best, after = number, []
            elif len(after) <= size:
                after.append((row, cursor))
        seen = here.trail.then(some.rows, some.total)
        if seen.endless or seen.moved:
            raise LostError
        if some.ended or (best == trail.shown - 1 and len(after) >= size):
            break
        here = Place(seen, some.way, some.cursors[-1], some.longest)
    taken = after[:size]
    whole = some.ended and len(after) <= size
    return Step(
        [row for row, _ in taken],
        [cursor for _, cursor in taken],
        way,
        some.total,
        whole,
        place.longest,
    )


async def _from_one_window(source: Source, place: Place, size: int) -> Step:
    """The rows after a place in a window that holds the whole list, or at least a row of the trail
    and more. Raises LostError if it does not.
    """
    reader = Reader(source, BY_ROW, source.most)
    seen = await reader.read(WAYS[BY_ROW].start)
    whole = seen.counted_to_end() and await is_last(source, seen)
    hit = place.trail.newest_in(seen.rows, place.trail.shown - 1, whole=whole)
    first = hit.index + 1 if hit else 0
    if not whole and (hit is None or first == len(seen.rows)):
        raise LostError
    return replace(cut(reader, seen, first, size, ended=whole), longest=place.longest)
