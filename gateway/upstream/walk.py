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

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, TypeAlias

from cbrgateway.v1 import errors_pb2
from msgspec import Struct
from msgspec.structs import replace

from gateway.errors import GatewayError
from gateway.upstream.rows import Row
from gateway.upstream.trail import NOTHING, Trail
from gateway.upstream.ways import BY_NUMBER, BY_ROW, OVERLAP, WAYS, Cursor
from gateway.upstream.windows import NO_WINDOW, Longest, LostError, Reader, Seen, Source

_MAX_WINDOWS: Final = 8
"""Read for one step at most; each but the last shows nothing new."""
_OTHER_BOUNDS: Final = 7
"""Rows less than at most, so that a window does not end where others did."""
_ROUNDS: Final = 2
"""How often a list is searched in each way; rows may change while it is."""


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


_Read: TypeAlias = Callable[[Source, Place, int], Awaitable[Step]]


def rest(
    rows: Sequence[Row], place: Place, size: int, *, of_cbr: bool = False, in_order: bool = False
) -> Step:
    """The rows after a place, of a list that is there as a whole.

    `of_cbr`: as long as these are the same ones, all of them have to come. `in_order`: as CBR shows
    them, so that they have to stand as before. Raises GatewayError where that is not so.
    """
    if in_order and place.trail.scattered(rows):
        raise _no_list()
    first = 0
    if place.trail.shown and (
        hit := place.trail.newest_in(rows, int(place.cursor) - 1, whole=True)
    ):
        first = hit.index + 1
    last = min(first + size, len(rows))
    every = NOTHING.then(rows) if of_cbr else NOTHING
    shown = place.trail.then(rows[first:last], every.names)
    if of_cbr and last == len(rows) and shown.total is not None and not shown.shows_the_same(every):
        raise _no_list()
    return Step(
        rows[first:last],
        range(first + 1, last + 1),
        BY_ROW,
        every.names,
        ended=last == len(rows),
        longest=place.longest,
    )


async def step(source: Source, place: Place, size: int) -> Step:
    """The rows after a place, at least one unless the list has ended, at most `size`.

    Raises GatewayError.
    """
    for read in _reads(source, place):
        try:
            found = await read(source, place, size)
        except LostError:
            continue
        if found.ended and not await _complete(source, place, found):
            break
        return found
    raise _no_list()


def _no_list() -> GatewayError:
    text = (
        "The pages that CBR answers do not make up a list: they repeat, or leave rows out;"
        " report it to the gateway's operator."
    )
    return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)


async def _complete(source: Source, place: Place, last: Step) -> bool:
    """Whether a list has ended with all its rows.

    Where that is in doubt it is read once more, from its start, in windows that begin elsewhere:
    rows that are not those which were shown stand in no order, unless CBR counts others by now.
    """
    shown = place.trail.then(last.rows, last.total)
    if not place.trail.shown or not shown.doubtful:
        return True
    here = Place(way=last.way, cursor=WAYS[last.way].start)
    while not here.trail.endless:
        try:
            some = await _advance(source, here, max(source.most - _OTHER_BOUNDS, 1), sure=False)
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
    yield _advance
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


async def _advance(source: Source, place: Place, size: int, *, sure: bool = True) -> Step:
    """The rows after a place, read in its way.

    Raises LostError if that shows other rows than before. `sure`: a row that has changed does not
    tell by its id alone that it was shown, since others may have that, too.
    """
    way, trail = WAYS[place.way], place.trail
    reader = Reader(source, place.way, _limit(source, place, size), place.longest)
    if not trail.shown:
        seen = await reader.read(way.start)
        whole = seen.counted_to_end() and (source.count.of_list or await _is_whole(source, seen))
        return _first(reader, seen, size, whole=whole)
    seen, best = await reader.read(way.back(place.cursor)), -1
    for _ in range(_MAX_WINDOWS):
        hit = trail.newest_in(seen.rows, way.index(seen.at, place.cursor))
        if (
            hit is None
            or (sure and not hit.sure)
            or hit.number < best
            or (hit.number == best and not way.may_repeat(seen.at, seen.rows, hit.index))
        ):
            raise LostError
        closer, more = way.closer(seen.at, hit.index), len(seen.rows) - hit.index - 1
        ended = seen.counted_to_end(expected=hit.expected) and (
            source.count.of_list or await _is_whole(source, seen)
        )
        if ended or more >= size or (more and (hit.expected or closer is None)):
            return _cut(reader, seen, hit.index + 1, size, ended=ended)
        last = not more and (seen.reaches_end or closer is None)
        after = await reader.read(way.following(seen.at, seen.rows)) if last else None
        if after and seen.reaches_end and _adds_nothing(after, trail):
            return _cut(reader, after, len(after.rows), size, ended=True)
        if closer is not None:
            seen = await reader.read(closer)
        elif after and trail.newest_in(after.rows, way.index(after.at, place.cursor)):
            seen = after
        elif after:
            return await _joined(reader, trail, seen, after, size)
        best = hit.number
    raise LostError


def _first(reader: Reader, seen: Seen, size: int, *, whole: bool) -> Step:
    """The first rows. Raises LostError where there is none, and a count of some."""
    if not seen.rows and seen.window.total:
        raise LostError
    return _cut(reader, seen, 0, size, ended=whole or not seen.rows)


async def _is_whole(source: Source, first: Seen) -> bool:
    """Whether a window in which as many rows stand as are counted is a whole list, if it is one at
    the start.

    Where the count may be that of the page, and the page one that CBR cut shorter than was asked
    for, the next row or page tells: once, if the count of that is one of the whole list.
    """
    if first.at != WAYS[first.way].start or not first.rows:
        return True
    for offset in (1, 2):
        try:
            after = await Reader(source, BY_ROW, first.limit).read(offset)
        except LostError:
            return True
        if not after.rows or not first.same_end(after):
            return not after.rows
        if len(after.rows) < len(first.rows):
            return True
    # The offset is not heeded, so that nothing else can be found.
    source.count.of_list = True
    return True


def _adds_nothing(after: Seen, trail: Trail) -> bool:
    """Whether the window after another is empty, but for what it has to repeat."""
    last = len(after.rows) - 1
    if last < 0:
        return True
    hit = trail.newest_in(after.rows[last:], None)
    return (
        after.reaches_end
        and hit is not None
        and hit.number == trail.shown - 1
        and WAYS[after.way].may_repeat(after.at, after.rows, last)
    )


async def _joined(reader: Reader, trail: Trail, seen: Seen, after: Seen, size: int) -> Step:
    """The rows of a window that does not overlap with the one before it.

    Raises LostError unless both were next to each other, and the second shows new rows alone.
    """
    steady = seen.steady(after)
    if steady and trail.shown + len(after.rows) > (after.window.total or 0):
        # More were shown than are counted, so that the count proves nothing.
        steady = None
    if (
        trail.shows_again(after.rows)
        or seen.limit != after.limit
        or steady is False
        or not (steady or seen.same_end(await reader.read(seen.at)))
    ):
        raise LostError
    return _cut(reader, after, 0, size, ended=not after.rows)


def _cut(reader: Reader, seen: Seen, first: int, size: int, *, ended: bool) -> Step:
    """What a window shows from an index on."""
    last = min(first + size, len(seen.rows))
    whole = ended and last == len(seen.rows)
    return Step(
        seen.rows[first:last],
        seen.cursors(first, last),
        seen.way,
        seen.window.total,
        whole,
        reader.longest,
    )


def _limit(source: Source, place: Place, size: int) -> int:
    """How many rows to ask for: some that were shown, too, and not fewer than before, so that
    windows can be compared.

    Pages that are counted are always of one size.
    """
    wanted = (
        source.usual if place.way == BY_NUMBER else size + (OVERLAP if place.trail.shown else 0)
    )
    return min(max(wanted, place.longest.limit), source.most)


async def _search(way: int, source: Source, place: Place, size: int) -> Step:
    """Reads the list from its start until it shows the last row of the trail, or to its end for the
    newest one that is still there.
    """
    trail, best = place.trail, -1
    after: list[tuple[Row, Cursor]] = []
    here = Place(way=way, cursor=WAYS[way].start)
    while True:
        some = await _advance(source, here, source.usual, sure=False)
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
    whole = seen.counted_to_end() and (source.count.of_list or await _is_whole(source, seen))
    hit = place.trail.newest_in(seen.rows, place.trail.shown - 1, whole=whole)
    first = hit.index + 1 if hit else 0
    if not whole and (hit is None or first == len(seen.rows)):
        raise LostError
    return replace(_cut(reader, seen, first, size, ended=whole), longest=place.longest)
