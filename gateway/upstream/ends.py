"""Whether a list has ended behind a window whose count says so.

A count may be that of the page, or of the rows up to the page's end, and the page one that CBR cut
shorter than was asked for. So until a count is known to be that of the whole list, what follows is
asked for, too. It is known once a list of two rows or more has ended with as many rows as are
counted, also beside one row alone: once for an operation of a cloud, until an answer contradicts it
or it has been known for hours (page_fits.py). A list of one row is looked behind once.
"""

from collections.abc import Sequence

from gateway.upstream.rows import Row, row_id, row_ids
from gateway.upstream.ways import BY_MARKER, BY_ROW, WAYS, Cursor
from gateway.upstream.windows import LostError, Reader, Seen, Source, Window


async def is_last(source: Source, seen: Seen) -> bool:
    """Whether a window is the last one, which it is by its count.

    Raises LostError where the list may be longer, and nothing leads on.
    """
    count, rows = source.count, len(seen.rows)
    if count.of_list or not rows or (rows == 1 and count.of_one):
        return True
    follows = await _follows(source, seen)
    if follows:
        count.doubt()
    elif rows == 1:
        count.of_one = follows is False
    elif not count.of_page:
        one = await Reader(source, BY_ROW, 1).read(WAYS[BY_ROW].start)
        alone = len(one.rows) == 1
        # Where not even the limit is heeded nothing could show more rows.
        unpaged = follows is None and len(one.rows) == rows
        count.of_list = unpaged or (alone and one.window.total == seen.window.total)
        count.of_page = alone and one.window.total == 1
    if follows is None and rows > 1 and not count.of_list:
        if count.of_page:
            raise LostError
        return False
    return not follows


async def is_unpaged(source: Source, shown: Window) -> bool:
    """Whether an answer to which no rows were asked for, as to a list that CBR does not page, has
    all of them. As long as it is not known an offset has to be without effect, too.
    """
    count, rows = source.count, len(shown.rows)
    if (shown.total or 0) > rows:
        return False
    if not rows or count.of_list or (rows == 1 and count.of_one):
        return True
    try:
        after = (await Reader(source, BY_ROW, source.most).read(min(rows, 2))).rows
    except LostError:
        after = shown.rows
    same = row_ids(after) == row_ids(shown.rows)
    ended = same or (rows == 1 and not after)
    count.of_list, count.of_one = same and rows > 1, ended and rows == 1
    return ended


async def _follows(source: Source, seen: Seen) -> bool | None:
    """Whether rows follow a window; None: nothing leads on."""
    way = WAYS[seen.way]
    if seen.at != way.start:
        return bool(await _after(source, seen, seen.way, way.following(seen.at, seen.rows)))
    rows = len(seen.rows)
    # The third one is for rows that came in front of the list meanwhile.
    for offset in (1, 2, rows + 1):
        after = await _after(source, seen, BY_ROW, offset)
        if not after:
            return False
        same, moved = _begins(after, seen, 0), _begins(after, seen, 1)
        if moved and (not same or len(after) < rows):
            return bool(await _after(source, seen, BY_ROW, rows))
        if not same:
            return True
    return await _follows_marker(source, seen) if source.ways > BY_MARKER else None


async def _follows_marker(source: Source, seen: Seen) -> bool | None:
    marker = WAYS[BY_MARKER].following(WAYS[BY_MARKER].start, seen.rows)
    if not marker:
        return None
    after = await _after(source, seen, BY_MARKER, marker)
    if after:
        return None if _begins(after, seen, 0) else True
    # The end, unless it was said of a row that has gone.
    return not seen.same_end(await Reader(source, seen.way, seen.limit).read(seen.at))


async def _after(source: Source, seen: Seen, way: int, at: Cursor) -> Sequence[Row]:
    """The rows of another window; none where CBR refuses it, as it may behind the last row."""
    try:
        return (await Reader(source, way, seen.limit).read(at)).rows
    except LostError:
        return ()


def _begins(after: Sequence[Row], seen: Seen, index: int) -> bool:
    """Whether rows begin with the one at an index of a window."""
    return index < len(seen.rows) and row_id(after[0]) == row_id(seen.rows[index])
