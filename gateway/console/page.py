"""What a page shows, before it is HTML."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import urlencode

ROWS: Final = 200
"""Of a table, in one page."""
_LAST: Final = 1_000_000
GOOD, WARN, BAD = "good", "warn", "bad"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Cell:
    """`kind`: GOOD, WARN or BAD, which is also told by the text; `percent`: shown as a bar."""

    text: str
    kind: str = ""
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """`note`: below the caption; `empty`: what is said where there are no rows; `link`: where more
    is, if anywhere.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    empty: str
    note: str = ""
    link: "Link | None" = None


@dataclass(frozen=True, slots=True)
class Link:
    text: str
    address: str


@dataclass(frozen=True, slots=True)
class Field:
    """Of the form by which rows are chosen."""

    name: str
    label: str
    value: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    title: str
    tables: Sequence[Table]
    fields: Sequence[Field] = ()
    notices: Sequence[Cell] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The query of the address; of a name that occurs more than once the first counts."""

    values: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "").strip()

    @property
    def number(self) -> int:
        """Of the page, from 1."""
        text = self["page"]
        return min(max(1, int(text)), _LAST) if re.fullmatch("[0-9]{1,9}", text) else 1

    @property
    def first(self) -> int:
        """Of the rows of that page, from 0."""
        return (self.number - 1) * ROWS

    def with_(self, **changed: str) -> str:
        return "?" + urlencode({**self.values, **changed})


def listed(
    caption: str,
    head: Sequence[str],
    items: Sequence[Item],
    show: Callable[[Item], Sequence[Cell]],
    asked: Asked,
) -> Table:
    """One page of items, of those with every word of `q` somewhere; the others are not shown, and
    cost nothing where there is no `q`.
    """
    found = fitting(items, show, asked)
    rows = [show(each) for each in found[asked.first : asked.first + ROWS]]
    return paged(caption, head, rows, len(found), asked)


def fitting(
    items: Sequence[Item], show: Callable[[Item], Sequence[Cell]], asked: Asked
) -> Sequence[Item]:
    """Those with every word of `q` somewhere."""
    words = asked["q"].lower().split()
    return [each for each in items if _has(show(each), words)] if words else items


def paged(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], total: int, asked: Asked
) -> Table:
    """`rows`: of the page that is asked for; `total`: of all pages."""
    first = asked.first
    note = f"{total} in all"
    if total > ROWS:
        note += f", from {first + 1} to {first + len(rows)}" if rows else ""
    more = first + ROWS < total
    link = Link("Next page", asked.with_(page=str(asked.number + 1))) if more else None
    return Table(caption, head, rows, "nothing that fits", note, link)


def _has(row: Sequence[Cell], words: Sequence[str]) -> bool:
    text = " ".join(cell.text for cell in row).lower()
    return all(word in text for word in words)


def search(asked: Asked) -> Field:
    return Field("q", "Search", asked["q"], "words that a row has")


def when(seconds: float) -> str:
    """A moment, to the second; empty for none."""
    if seconds <= 0:
        return ""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


def age(seconds: float) -> str:
    """How long, in its two largest units."""
    left, parts = int(max(0.0, seconds)), list(_units(int(max(0.0, seconds))))
    return " ".join(parts[:2]) if left else "0 s"


def _units(left: int) -> Iterator[str]:
    for name, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, size)
        if number:
            yield f"{number} {name}"
