"""The rules by which CBR may page a list: what to ask for, and where in the list an answer is."""

from collections.abc import Sequence
from typing import Final, Protocol

from gateway.upstream.rows import Row, marker_of

OVERLAP: Final = 4
"""Rows of the page before that are read again."""

Cursor = int | str
"""Where a window starts, or the last row shown is; its meaning is the way's."""


class Way(Protocol):
    """One of the rules by which CBR may page."""

    start: Cursor

    def back(self, cursor: Cursor) -> Cursor:
        """The window that holds the last row shown."""

    def ask(self, window: Cursor, limit: int) -> dict[str, int | str]:
        """Its parameters."""

    def following(self, window: Cursor, rows: Sequence[Row]) -> Cursor:
        """The window after one with these rows."""

    def cursors(self, window: Cursor, rows: Sequence[Row], which: range) -> Sequence[Cursor]:
        """Where the rows with these indices are."""

    def first(self, window: Cursor) -> int | None:
        """The place in the whole list of a window's first row, if the way knows it."""

    def index(self, window: Cursor, cursor: Cursor) -> int | None:
        """The index in a window at which the last row shown has to be; None: not known."""

    def closer(self, window: Cursor, index: int) -> Cursor | None:
        """The window that begins with the row at an index of this one, where the way can name it
        and it is another one.
        """

    def may_repeat(self, window: Cursor, rows: Sequence[Row], index: int) -> bool:
        """Whether the newest row shown may be at that index of a window.

        It was in the window that was read before.
        """


class _ByRow:
    """`offset` is the place of a row, from 0. A cursor is the place after the last row shown."""

    start: Cursor = 0

    def back(self, cursor: Cursor) -> Cursor:
        # Not 0 if that can be helped: the first rows do not show whether an offset counts rows.
        return int(cursor) - max(1, min(OVERLAP, int(cursor) - 1))

    def ask(self, window: Cursor, limit: int) -> dict[str, int | str]:
        return {"limit": limit, "offset": window} if window else {"limit": limit}

    def following(self, window: Cursor, rows: Sequence[Row]) -> Cursor:
        return int(window) + len(rows)

    def cursors(self, window: Cursor, rows: Sequence[Row], which: range) -> Sequence[Cursor]:  # noqa: ARG002
        return range(int(window) + which.start + 1, int(window) + which.stop + 1)

    def first(self, window: Cursor) -> int | None:
        return int(window)

    def index(self, window: Cursor, cursor: Cursor) -> int | None:
        return int(cursor) - 1 - int(window) if window else None

    def closer(self, window: Cursor, index: int) -> Cursor | None:
        return int(window) + index if index else None

    def may_repeat(self, window: Cursor, rows: Sequence[Row], index: int) -> bool:  # noqa: ARG002
        return index == 0


class _ByNumber:
    """`offset` is the number of a page, from 0 or from 1: then 0 is the same as 1.

    A cursor is the number of the page of the last row shown.
    """

    start: Cursor = 0

    def back(self, cursor: Cursor) -> Cursor:
        return cursor

    def ask(self, window: Cursor, limit: int) -> dict[str, int | str]:
        return {"limit": limit, "offset": window} if window else {"limit": limit}

    def following(self, window: Cursor, rows: Sequence[Row]) -> Cursor:  # noqa: ARG002
        return int(window) + 1

    def cursors(self, window: Cursor, rows: Sequence[Row], which: range) -> Sequence[Cursor]:  # noqa: ARG002
        return [window] * len(which)

    def first(self, window: Cursor) -> int | None:
        return None if window else 0

    def index(self, window: Cursor, cursor: Cursor) -> int | None:  # noqa: ARG002
        return None

    def closer(self, window: Cursor, index: int) -> Cursor | None:  # noqa: ARG002
        return None

    def may_repeat(self, window: Cursor, rows: Sequence[Row], index: int) -> bool:  # noqa: ARG002
        return window == 1


class _ByMarker:
    """`marker` is the id of the row before the window.

    A cursor is that of the window which begins with the last row shown.

    Behind a row without an id a window begins earlier: with the rows after the last one that has
    one.
    """

    start: Cursor = ""

    def back(self, cursor: Cursor) -> Cursor:
        return cursor

    def ask(self, window: Cursor, limit: int) -> dict[str, int | str]:
        return {"limit": limit, "marker": window} if window else {"limit": limit}

    def following(self, window: Cursor, rows: Sequence[Row]) -> Cursor:
        return next(filter(None, map(marker_of, reversed(rows))), window)

    def cursors(self, window: Cursor, rows: Sequence[Row], which: range) -> Sequence[Cursor]:
        return [self.following(window, rows[:index]) for index in which]

    def first(self, window: Cursor) -> int | None:
        return None if window else 0

    def index(self, window: Cursor, cursor: Cursor) -> int | None:  # noqa: ARG002
        return None

    def closer(self, window: Cursor, index: int) -> Cursor | None:  # noqa: ARG002
        return None

    def may_repeat(self, window: Cursor, rows: Sequence[Row], index: int) -> bool:  # noqa: ARG002
        return not any(map(marker_of, rows[: index + 1]))


WAYS: Final[tuple[Way, ...]] = (_ByRow(), _ByNumber(), _ByMarker())
"""In the order in which they are tried; not every list has the last one."""
BY_ROW: Final = 0
BY_NUMBER: Final = 1
BY_MARKER: Final = 2
FRONT: Final = 3
"""No way: the list has ended, and rows that came to its front follow (front.py). A cursor is how
many of them were shown.
"""
