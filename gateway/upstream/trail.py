"""Which rows of a list were shown: marks of the last ones, and of fewer and fewer before them, so
that a token can hold them.

Of the last 32 rows each has its mark, of the 32 before them every fourth, of the 64 before those
every eighth, and so on: a list of 10,000 rows takes under 100 marks.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from gateway.upstream.rows import Row, UnreadableRow, row_id

_EACH: Final = 32
_SHARE: Final = 8
"""How many marks are kept of each stretch that is as long as all rows after it."""
_MARK_BYTES: Final = 6


class Hit(Struct, frozen=True):
    """A row that was shown: its index in a window, its number, and whether it stands right."""

    index: int
    number: int
    expected: bool


class Trail(Struct, frozen=True):
    """`shown`: how many rows; they are numbered from 0.

    `marks`: those that are kept, one after the other, the oldest first.
    """

    shown: int = 0
    marks: bytes = b""

    def then(self, rows: Sequence[Row]) -> "Trail":
        """The trail after more rows."""
        known, before, shown = self._marks(), self.shown, self.shown + len(rows)
        kept = _kept(shown)
        new = _marks([rows[number - before] for number in kept if number >= before])
        old = [known[number] for number in kept if number < before]
        return Trail(shown, b"".join(old + new))

    def newest_in(
        self, rows: Sequence[Row], expected: int | None, *, all_marks: bool = False
    ) -> Hit | None:
        """The newest row shown that is among these, of the last 32.

        `expected`: the index at which the last of all should be.

        `all_marks`: also of the rows before those, which only a list that is there as a whole can
        tell.
        """
        marks = _marks(rows)
        places = {mark: index for index, mark in reversed(list(enumerate(marks)))}
        known, alike = self._marks(), self._alike(rows, marks)
        shift = None if expected is None else expected - (self.shown - 1)
        for number in reversed(known if all_marks else list(known)[-_EACH:]):
            own = -1 if shift is None else number + shift
            if (
                0 <= own < len(marks)
                and marks[own] == known[number]
                and (own not in alike or self._confirmed(marks[:own], own - number, alike))
            ):
                return Hit(own, number, expected=True)
            if (index := places.get(known[number])) is not None and index not in alike:
                return Hit(index, number, expected=False)
        return None

    def number_of(self, row: Row, index: int) -> int:
        """The number of a row, the last one of several; -1 if no mark of it is kept.

        `index`: in its list; a row without an id has no other.
        """
        (mark,) = _marks((row,))
        if not isinstance(row, UnreadableRow) or row.id:
            return self._numbers().get(mark, -1)
        return index if self._marks().get(index) == mark else -1

    def _alike(self, rows: Sequence[Row], marks: Sequence[bytes]) -> frozenset[int]:
        """Indices of rows that nothing tells from others: they have no id, and the same JSON.

        Where one of them is proves nothing by itself.
        """
        bare = [
            index for index, row in enumerate(rows) if isinstance(row, UnreadableRow) and not row.id
        ]
        if not bare:
            return frozenset()
        here, shown = Counter(marks), Counter(self._marks().values())
        return frozenset(
            index for index in bare if here[marks[index]] > 1 or shown[marks[index]] > 1
        )

    def _confirmed(self, marks: Sequence[bytes], shift: int, alike: Collection[int]) -> bool:
        """Whether a row that differs from others stands where it should, too."""
        known = self._marks()
        return any(
            index not in alike and known.get(index - shift) == mark
            for index, mark in enumerate(marks)
        )

    def _marks(self) -> dict[int, bytes]:
        return dict(zip(_kept(self.shown), _split(self.marks), strict=True))

    def _numbers(self) -> Mapping[bytes, int]:
        return {mark: number for number, mark in self._marks().items()}


NOTHING: Final = Trail()
"""No row was shown."""


def _kept(shown: int) -> list[int]:
    """The numbers of the rows whose marks are kept, rising.

    What is not kept is not kept of any longer trail, either.
    """
    found = list(range(max(shown - _EACH, 0), shown))
    far, stride = _EACH, _EACH // _SHARE
    while far < shown:
        first = max(shown - 2 * far, 0)
        found[:0] = range(first + -first % stride, shown - far, stride)
        far, stride = 2 * far, 2 * stride
    return found


def _split(marks: bytes) -> Iterable[bytes]:
    return (marks[start : start + _MARK_BYTES] for start in range(0, len(marks), _MARK_BYTES))


def _marks(rows: Sequence[Row]) -> list[bytes]:
    return [blake2b(row_id(row).encode(), digest_size=_MARK_BYTES).digest() for row in rows]
