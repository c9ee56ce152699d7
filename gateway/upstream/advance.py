"""The rows that follow a place in a list, read in one way of paging: in a window that shows rows
from before, too, or in one that is joined to such a one.
"""

from typing import Final

from gateway.upstream.ends import is_last
from gateway.upstream.place import Place, Step
from gateway.upstream.trail import Trail
from gateway.upstream.ways import BY_NUMBER, OVERLAP, WAYS
from gateway.upstream.windows import LostError, Reader, Seen, Source

_MAX_WINDOWS: Final = 8
"""Read for one step at most; each but the last shows nothing new."""


async def advance(source: Source, place: Place, size: int, *, sure: bool = True) -> Step:
    """The rows after a place, read in its way.

    Raises LostError if that shows other rows than before. `sure`: a row that has changed does not
    tell by its id alone that it was shown, since others may have that, too.
    """
    way, trail = WAYS[place.way], place.trail
    reader = Reader(source, place.way, _limit(source, place, size), place.longest)
    if not trail.shown:
        seen = await reader.read(way.start)
        whole = seen.counted_to_end() and (source.count.of_list or await is_last(source, seen))
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
        if hit.expected and seen.miscounted:
            source.count.doubt()
        closer, more = way.closer(seen.at, hit.index), len(seen.rows) - hit.index - 1
        ended = seen.counted_to_end(expected=hit.expected) and (
            source.count.of_list or await is_last(source, seen)
        )
        if ended or more >= size or (more and (hit.expected or closer is None)):
            return cut(reader, seen, hit.index + 1, size, ended=ended)
        last = not more and (seen.reaches_end or closer is None)
        after = await reader.read(way.following(seen.at, seen.rows)) if last else None
        if after and seen.reaches_end and _adds_nothing(after, trail):
            return cut(reader, after, len(after.rows), size, ended=True)
        if closer is not None:
            seen = await reader.read(closer)
        elif after and trail.newest_in(after.rows, way.index(after.at, place.cursor)):
            seen = after
        elif after:
            steady = None if source.count.of_page else seen.steady(after)
            return await _joined(reader, trail, seen, after, size, steady=steady)
        best = hit.number
    raise LostError


def _first(reader: Reader, seen: Seen, size: int, *, whole: bool) -> Step:
    """The first rows. Raises LostError where there is none, and a count of some."""
    if not seen.rows and seen.window.total:
        raise LostError
    return cut(reader, seen, 0, size, ended=whole or not seen.rows)


def _adds_nothing(after: Seen, trail: Trail) -> bool:
    """Whether the window after another is empty, but for what it has to repeat: rows without an id
    by which the next one could be asked for.
    """
    last, way = len(after.rows) - 1, WAYS[after.way]
    if last < 0:
        return True
    hit = trail.newest_in(after.rows[last:], None)
    return (
        after.reaches_end
        and hit is not None
        and hit.number == trail.shown - 1
        and way.following(after.at, after.rows) == after.at
        and way.may_repeat(after.at, after.rows, last)
    )


async def _joined(
    reader: Reader, trail: Trail, seen: Seen, after: Seen, size: int, *, steady: bool | None
) -> Step:
    """The rows of a window that does not overlap with the one before it. `steady`: as of the counts
    of both, if these prove anything.

    Raises LostError unless both were next to each other, and the second shows new rows alone.
    """
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
    return cut(reader, after, 0, size, ended=not after.rows)


def cut(reader: Reader, seen: Seen, first: int, size: int, *, ended: bool) -> Step:
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
    # A list of one row shows its end beside room for another one.
    return min(max(wanted, place.longest.limit, 2), source.most)
