"""Reads a list of CBR from where the caller stands, whatever rule CBR follows when it cuts the list into windows.

What is read next is not taken on trust. A window counts only if it shows the newest row that was shown before, and what follows that row
in the window is what follows it in the list; or if it begins where such a window ended. So a window that CBR repeats, or one that starts
elsewhere because rows were deleted or inserted, is recognised by its rows. Then the list is searched from its start for the newest row shown that
is still there, in each way in which CBR could page. Rows may be shown twice where many were deleted at once, and are never left out; a list
that can be read in no way ends as UPSTREAM_PROTOCOL.

The end is an empty window after one that was recognised, or a short one behind which, by CBR's count, nothing follows.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2

from gateway.errors import GatewayError
from gateway.upstream.trail import NOTHING, Hit, Trail
from gateway.upstream.ways import BY_NUMBER, BY_ROW, OVERLAP, WAYS, Cursor

_MAX_WINDOWS: Final = 8
"""Read for one step at most; each but the last shows nothing new."""


@dataclass(frozen=True, slots=True)
class Window:
    """What CBR answered. `total`: the rows of the whole list by its count; None: it did not say."""

    rows: Sequence[Message]
    total: int | None


Read = Callable[[dict[str, int | str]], Awaitable[Window]]
"""Reads one window; takes `limit` and, where they are needed, `offset` or `marker`."""


@dataclass(frozen=True, slots=True)
class Source:
    """A list of CBR. `ways`: how many of WAYS it may have. `usual` rows are read at once where nobody says how many, and never more than `most`."""

    read: Read
    ways: int
    usual: int
    most: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody stands in a list: the rows that were shown, and where the last one was, in the way (an index of WAYS) that was right then."""

    trail: Trail = NOTHING
    way: int = 0
    cursor: Cursor = 0


@dataclass(frozen=True, slots=True)
class Step:
    """The next rows, each with its cursor; `total` as CBR counts. `ended`: there are no more."""

    rows: Sequence[Message]
    cursors: Sequence[Cursor]
    way: int
    total: int | None
    ended: bool

    def place(self, before: Trail) -> Place:
        """Where one stands after it."""
        return Place(before.then(self.rows), self.way, self.cursors[-1])


def rest(rows: Sequence[Message], place: Place, size: int) -> Step:
    """The rows after a place, of a list that is there as a whole."""
    first = 0
    if place.trail.shown and (hit := place.trail.newest_in(rows, int(place.cursor) - 1, all_marks=True)):
        first = hit.index + 1
    last = min(first + size, len(rows))
    return Step(rows[first:last], range(first + 1, last + 1), 0, len(rows), ended=last == len(rows))


class _LostError(Exception):
    """The windows do not show what was shown before."""


async def step(source: Source, place: Place, size: int) -> Step:
    """The rows after a place, at least one unless the list has ended, at most `size`. Raises GatewayError."""
    try:
        return await _advance(source, place, size)
    except _LostError:
        pass
    for way in sorted(range(source.ways), key=lambda way: way != place.way):
        try:
            return await _search(source, way, place.trail, size)
        except _LostError:
            continue
    text = "The pages that CBR answers do not make up a list: they repeat, or leave rows out; report it to the gateway's operator."
    raise GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)


async def everything(source: Source) -> list[Message]:
    """All rows. Raises GatewayError."""
    found: list[Message] = []
    place = Place()
    while True:
        some = await step(source, place, source.usual)
        found += some.rows
        if some.ended:
            return found
        place = some.place(place.trail)


async def _advance(source: Source, place: Place, size: int) -> Step:
    """The rows after a place, read in its way. Raises _LostError if that shows other rows than before."""
    way, trail = WAYS[place.way], place.trail
    at, follows, moved, best = (way.back(place.cursor), False, False, -1) if trail.shown else (way.start, True, False, -1)
    limit = _limit(source, place, size)
    for _ in range(_MAX_WINDOWS):
        seen = await _read(source, place.way, at, limit)
        index = way.index(at, place.cursor)
        hit = trail.newest_in(seen.rows, index)
        if hit is None:
            if not follows or (seen.rows and best != trail.shown - 1):
                raise _LostError
            return seen.cut(0, size)
        if index is not None and not hit.expected:
            # Rows before it were inserted or deleted, or an offset does not count rows: the window that begins with the row found will tell.
            at, place = _moved(place, at, hit)
            if moved or not at:
                raise _LostError
            moved, follows = True, False
            continue
        found = seen.cut(hit.index + 1, size)
        if found.rows or found.ended:
            return found
        if hit.number <= best and (place.way, at) != (BY_NUMBER, 1):
            # The window repeats what the one before it showed. Only page 1 may, where pages are counted from 1.
            raise _LostError
        best = hit.number
        if isinstance(at, int) and place.way == BY_ROW and len(seen.rows) == limit:
            # More may follow: the next window begins with the row found, since rows may be deleted before it is read.
            (at, place), follows = _moved(place, at, hit), False
        else:
            at, follows = way.following(at, seen.rows), True
    raise _LostError


def _limit(source: Source, place: Place, size: int) -> int:
    """How many rows to ask for. Pages that are counted are always of one size; else some rows are read that were shown."""
    if place.way == BY_NUMBER:
        return source.usual
    return min(size + (OVERLAP if place.trail.shown else 0), source.most)


async def _read(source: Source, way: int, at: Cursor, limit: int) -> "_Seen":
    try:
        window = await source.read(WAYS[way].ask(at, limit))
    except GatewayError as error:
        # The row that a marker names may be gone, and an offset may be beyond the end.
        if at == WAYS[way].start or error.code not in {code_pb2.NOT_FOUND, code_pb2.INVALID_ARGUMENT}:
            raise
        raise _LostError from error
    return _Seen(way, at, limit, window.rows, window.total)


def _moved(place: Place, window: Cursor, hit: Hit) -> tuple[int, Place]:
    """A window that begins with the row found, or just before it where that would be the same one; and the place as that row tells it."""
    found = int(window) + hit.index
    after = found + place.trail.shown - hit.number
    return found if hit.index else found - 1, replace(place, cursor=after)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A window that was read in some way, with its place and how many rows were asked for."""

    way: int
    at: Cursor
    limit: int
    rows: Sequence[Message]
    total: int | None

    def cut(self, first: int, size: int) -> Step:
        """What it shows from an index on."""
        way, count = WAYS[self.way], len(self.rows)
        last = min(first + size, count)
        cursors = [way.cursor(self.at, self.rows, index) for index in range(first, last)]
        start = way.first(self.at)
        confirmed = start is not None and count != self.limit and self.total == start + count
        return Step(self.rows[first:last], cursors, self.way, self.total, ended=last == count and (confirmed or not count))


async def _search(source: Source, way: int, trail: Trail, size: int) -> Step:
    """Reads the list from its start until it shows the last row of the trail, or to its end for the newest one that is still there."""
    best = -1
    after: list[tuple[Message, Cursor]] = []
    here = Place(way=way, cursor=WAYS[way].start)
    while True:
        some = await _advance(source, here, source.usual)
        for row, cursor in zip(some.rows, some.cursors, strict=True):
            number = trail.number_of(row)
            if number > best:
                best, after = number, []
            elif len(after) <= size:
                after.append((row, cursor))
        if some.ended or (best == trail.shown - 1 and len(after) >= size):
            break
        here = some.place(here.trail)
    taken = after[:size]
    return Step([row for row, _ in taken], [cursor for _, cursor in taken], way, some.total, ended=some.ended and len(after) <= size)
