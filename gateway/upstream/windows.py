"""Windows on a list of CBR: how they are read, and what can be told from their length."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from google.rpc import code_pb2
from msgspec import Struct, field

from gateway.errors import GatewayError
from gateway.upstream.page_fits import Count
from gateway.upstream.rows import Row, row_id
from gateway.upstream.ways import OVERLAP, WAYS, Cursor


class Window(Struct, frozen=True):
    """What CBR answered: all rows, also those that cannot be read.

    `total`: the rows of the whole list by its count; None: it did not say.

    `limit`: how many were asked for, where these are fewer than were wished for.
    """

    rows: Sequence[Row]
    total: int | None
    limit: int | None = None


Read = Callable[[dict[str, int | str]], Awaitable[Window]]
"""Reads one window; takes `limit` and, where they are needed, `offset` or `marker`."""


class Source(Struct, frozen=True):
    """A list of CBR.

    `ways`: how many of WAYS it may have. `usual` rows are read at once where nobody says how many,
    and never more than `most`. `count`: what is known of its count.
    """

    read: Read
    ways: int
    usual: int
    most: int
    count: Count = field(default_factory=lambda: Count(of_list=True))


class Longest(Struct, frozen=True):
    """The longest window that a list has shown, how many rows were asked for there, and how many
    were counted in the whole list.
    """

    rows: int = 0
    limit: int = 0
    total: int | None = None


NO_WINDOW: Final = Longest()


class LostError(Exception):
    """The windows do not show what was shown before."""


class Seen(Struct, frozen=True):
    """A window that was read in some way, with its place and how many rows were asked for.

    `reaches_end`: a longer window has been seen for no more rows asked for, so only the end of the
    list can have cut this one. `as_before`: the longest was not cut, a few rows less were asked for
    there, and as many were counted.
    """

    way: int
    at: Cursor
    limit: int
    window: Window
    reaches_end: bool
    as_before: bool

    @property
    def rows(self) -> Sequence[Row]:
        return self.window.rows

    def cursors(self, first: int, last: int) -> Sequence[Cursor]:
        """Where the rows with these indices are."""
        return WAYS[self.way].cursors(self.at, self.window.rows, range(first, last))

    def counted_to_end(self, *, expected: bool = False) -> bool:
        """Whether nothing follows by CBR's count.

        That alone is enough only at the start of a list: of other places a way may be wrong.

        `expected`: a row was found where the way told, which is a sign that it is right if nothing
        else has changed either.
        """
        way, length = WAYS[self.way], len(self.rows)
        start = way.first(self.at)
        trusted = self.reaches_end or self.at == way.start or (expected and self.as_before)
        return (
            trusted
            and start is not None
            and length < self.limit
            and self.window.total == start + length
        )

    @property
    def miscounted(self) -> bool:
        """Whether more rows are there than are counted, if this window is where its way says."""
        start, total = WAYS[self.way].first(self.at), self.window.total
        return start is not None and total is not None and start + len(self.rows) > total

    def steady(self, after: "Seen") -> bool | None:
        """Whether rows came or went between this window and the one after it, as the counts tell;
        None if they do not.
        """
        first, second = self.window.total, after.window.total
        if first is None or second is None or (first, second) == (len(self.rows), len(after.rows)):
            return None
        return first == second

    def same_end(self, again: "Seen") -> bool:
        return bool(again.rows) and row_id(again.rows[-1]) == row_id(self.rows[-1])


class Reader:
    """Reads windows of a list in one way, and remembers the longest."""

    def __init__(self, source: Source, way: int, limit: int, longest: Longest = NO_WINDOW) -> None:
        self._source, self._way, self._limit = source, way, limit
        self.longest = longest

    async def read(self, at: Cursor) -> Seen:
        way = WAYS[self._way]
        try:
            window = await self._source.read(way.ask(at, self._limit))
        except GatewayError as error:
            # The row that a marker names may be gone, and an offset may be beyond the end.
            if at == way.start or error.code not in {code_pb2.NOT_FOUND, code_pb2.INVALID_ARGUMENT}:
                raise
            raise LostError from error
        limit, length = window.limit or self._limit, len(window.rows)
        reaches_end = length < self.longest.rows and limit >= self.longest.limit
        longest = self.longest
        as_before = (
            longest.rows == longest.limit >= limit - OVERLAP and window.total == longest.total
        )
        if length > longest.rows:
            self.longest = Longest(length, limit, window.total)
        return Seen(self._way, at, limit, window, reaches_end, as_before)
