"""Which rows of a list were shown: marks of the last ones, and of fewer and fewer before them, so
that a token can hold them.

Of the last 32 rows each has its mark, of the 32 before them every fourth, of the 64 before those
every eighth, and so on: a list of 10,000 rows takes under 100 marks. The first row always has one.

A mark tells a row by its id; and by all that it holds, where others have that id, too. Rows that
are alike in everything prove nothing by themselves.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from typing import Final

from msgspec import Struct

from gateway.upstream.rows import Row, UnreadableRow, row_ids

_EACH: Final = 32
_SCATTERED: Final = 0.25
"""Of rows in any order it is half; of rows in order it is none, though one may move."""
_SHARE: Final = 8
"""How many marks are kept of each stretch that is as long as all rows after it."""
_NAME_BYTES: Final = 6
_CONTENT_BYTES: Final = 3
END_OF_SUMS: Final = 2**64
"""What a token can hold of them."""
_MOST_ROWS: Final = 1_000_000
_MOST_REPEATED: Final = 64
"""Rows that were shown move while a list is paged, or differ in nothing; but not so many."""


class Hit(Struct, frozen=True):
    """A row that was shown: its index in a window, its number, and whether it stands right.

    `sure`: no other row can be meant, since it stands right or is as it was.
    """

    index: int
    number: int
    expected: bool
    sure: bool


class Trail(Struct, frozen=True):
    """`shown`: how many rows; they are numbered from 0.

    `marks`: those that are kept, one after the other, the oldest first.

    `repeated`: how often rows were known already when they were shown; those of one page that are
    alike count once.

    `total`: how many rows the list had by CBR's count, or where all of them were there the sum of
    their names, as long as that was always the same; None: it was not. `names`: the sum over all
    rows shown, by which to see whether others are the same ones.
    """

    shown: int = 0
    marks: bytes = b""
    repeated: int = 0
    total: int | None = None
    names: int = 0

    @property
    def endless(self) -> bool:
        """Whether no list is as long as this, or the same rows come round and round."""
        return self.shown > _MOST_ROWS or self.repeated > _MOST_REPEATED

    @property
    def moved(self) -> bool:
        """Whether rows were shown twice although CBR counted the same all the time."""
        return self.total is not None and self.repeated > 0

    @property
    def doubtful(self) -> bool:
        """Whether rows may be lacking, of as many as CBR counted all the time."""
        return self.moved or (self.total is not None and 0 < self.shown < self.total)

    def shows_the_same(self, other: "Trail") -> bool:
        """Whether the same rows were shown, in whatever order."""
        return (self.shown, self.names) == (other.shown, other.names)

    def then(self, rows: Sequence[Row], total: int | None = None) -> "Trail":
        """The trail after more rows. `total`: of the list, as CBR counted it with them."""
        known, before, shown = self._marks(), self.shown, self.shown + len(rows)
        kept, names = _kept(shown), _names(rows)
        marks = [known[number] for number in kept if number < before]
        new = [number - before for number in kept if number >= before]
        contents = _contents([rows[at] for at in new])
        marks += map(bytes.__add__, [names[at] for at in new], contents)
        again = _Marks(rows).known(known.values()) if known else ()
        steady = total if total == self.total or not before else None
        summed = (self.names + sum(map(int.from_bytes, names))) % END_OF_SUMS
        return Trail(shown, b"".join(marks), self.repeated + len(again), steady, summed)

    def shows_again(self, rows: Sequence[Row]) -> bool:
        """Whether one of these is known to have been shown."""
        return bool(_Marks(rows).known(_split(self.marks)))

    def scattered(self, rows: Sequence[Row]) -> bool:
        """Whether many of the last rows shown stand before the one that was shown before them."""
        marks = list(_split(self.marks))[-_EACH:]
        alone, here = Counter(mark[:_NAME_BYTES] for mark in marks), _Marks(rows)
        places = [here.places(mark, alone=alone[mark[:_NAME_BYTES]] == 1) for mark in marks]
        at = [found[0] for found in places if len(found) == 1]
        falls = [first for first, second in pairwise(at) if second < first]
        return len(falls) > len(at) * _SCATTERED

    def newest_in(
        self, rows: Sequence[Row], expected: int | None, *, whole: bool = False
    ) -> Hit | None:
        """The newest row shown that is among these, of the last 32.

        `expected`: the index at which the last of all should be.

        `whole`: these are the whole list. Only that can tell the rows before the last 32, and where
        rows that are alike stand in it.
        """
        here, known, counts = _Marks(rows), self._marks(), self._counts()
        shift = None if expected is None else expected - (self.shown - 1)
        for number in reversed(known if whole else list(known)[-_EACH:]):
            mark = known[number]
            places = here.places(mark, alone=counts[mark[:_NAME_BYTES]] == 1)
            alike = len(places) > 1 or counts[mark] > 1
            own = -1 if shift is None else number + shift
            if own in places and (not alike or whole or self._confirmed(here, own, own - number)):
                return Hit(own, number, expected=True, sure=True)
            if places and not alike:
                sure = whole or here.mark(places[0]) == mark
                if sure or number == self.shown - 1:
                    return Hit(places[0], number, expected=False, sure=sure)
        return None

    def first_in(self, rows: Sequence[Row]) -> int | None:
        """The index of the first row of all that were shown."""
        first = self.marks[:_NAME_BYTES]
        return next((index for index, name in enumerate(_names(rows)) if name == first), None)

    def number_of(self, row: Row, index: int) -> int:
        """The number of a row, the last one of several; -1 if no mark of it is kept.

        `index`: in its list; a row that others are like has no other.
        """
        known, mark = self._marks(), _marks((row,))[0]
        named = [
            number for number, each in known.items() if each[:_NAME_BYTES] == mark[:_NAME_BYTES]
        ]
        if isinstance(row, UnreadableRow) and not row.id:
            return index if index in named else -1
        if len(named) > 1:
            named = [number for number in named if known[number] == mark]
        return index if index in named else max(named, default=-1)

    def _confirmed(self, here: "_Marks", own: int, shift: int) -> bool:
        """Whether a row before one that others are like stands where it should, too."""
        known, counts = self._marks(), self._counts()
        return any(
            (mark := known.get(index - shift)) is not None
            and counts[mark] == 1
            and here.places(mark, alone=counts[mark[:_NAME_BYTES]] == 1) == [index]
            for index in range(own)
        )

    def _marks(self) -> dict[int, bytes]:
        return dict(zip(_kept(self.shown), _split(self.marks), strict=True))

    def _counts(self) -> Mapping[bytes, int]:
        """How many rows that were shown have a mark, or a mark's name."""
        marks = list(_split(self.marks))
        return Counter(marks) + Counter(mark[:_NAME_BYTES] for mark in marks)


NOTHING: Final = Trail()
"""No row was shown."""


class _Marks:
    """The marks of the rows of a window; what a row holds is looked at only where it has to be."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self.names = _names(rows)

    @cached_property
    def _named(self) -> dict[bytes, list[int]]:
        found: dict[bytes, list[int]] = {}
        for index, name in enumerate(self.names):
            found.setdefault(name, []).append(index)
        return found

    def mark(self, index: int) -> bytes:
        return self.names[index] + _contents(self._rows[index : index + 1])[0]

    def places(self, mark: bytes, *, alone: bool) -> list[int]:
        """Indices of the rows that may be the one with a mark. `alone`: no other row that was shown
        has its id.
        """
        named = self._named.get(mark[:_NAME_BYTES], [])
        if alone and len(named) == 1:
            return named
        return [index for index in named if self.mark(index) == mark]

    def known(self, marks: Iterable[bytes]) -> set[bytes]:
        """Which of some marks are here."""
        wanted = set(marks)
        names = {mark[:_NAME_BYTES] for mark in wanted}
        return wanted & {self.mark(at) for at, name in enumerate(self.names) if name in names}


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
    size = _NAME_BYTES + _CONTENT_BYTES
    return (marks[start : start + size] for start in range(0, len(marks), size))


def _marks(rows: Sequence[Row]) -> list[bytes]:
    return list(map(bytes.__add__, _names(rows), _contents(rows)))


def _names(rows: Sequence[Row]) -> list[bytes]:
    return [blake2b(each.encode(), digest_size=_NAME_BYTES).digest() for each in row_ids(rows)]


def numbers(rows: Sequence[Row]) -> list[int]:
    """What `names` of a trail is the sum of."""
    return [*map(int.from_bytes, _names(rows))]


def _contents(rows: Sequence[Row]) -> list[bytes]:
    """All that rows hold, in short."""
    whole = [
        row.digest.encode()
        if isinstance(row, UnreadableRow)
        else row.SerializeToString(deterministic=True)
        for row in rows
    ]
    return [blake2b(each, digest_size=_CONTENT_BYTES).digest() for each in whole]
