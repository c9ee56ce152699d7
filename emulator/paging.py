"""How lists are cut into pages.

What the manual leaves open, and what a client must survive anyway, can be set.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from emulator import fields
from emulator.errors import invalid, service_error
from emulator.fields import JsonObject

Offset = Literal["rows", "pages", "pages_from_0", "ignored"]
Marker = Literal["honoured", "everywhere", "ignored"]
MissingMarker = Literal["empty", "bad_request", "not_found", "start"]
Order = Literal["newest_first", "oldest_first"]
Count = Literal["total", "page", "so_far", "less", "more", "none"]


@dataclass(frozen=True, slots=True)
class Paging:
    """The rules of all lists."""

    offset: Offset = "rows"
    """What `offset` counts: rows; pages, from 1 (0 is the first one, too) or from 0; or nothing."""
    marker: Marker = "honoured"
    """Whether `marker` leads on: in the lists that take it, in all, or in none."""
    missing_marker: MissingMarker = "empty"
    """What a marker that is not in the list gives."""
    cap: int = 1000
    """The most rows of a page, whatever `limit` says."""
    short: bool = False
    """Pages hold half of the rows that `limit` asks for."""
    count: Count = "total"
    """What `count` tells: the rows that match, those of the page, those up to its end, five less or
    more than match; or it is left out.
    """

    vaults: Order = "newest_first"
    """The order of lists of vaults.

    Newest first is that of every recorded list with several rows.
    """

    def ordered(self, vaults: list[Any]) -> list[Any]:
        """The vaults, which come oldest first, in the order of their lists."""
        return vaults[::-1] if self.vaults == "newest_first" else vaults

    def cut(
        self, items: Sequence[Any], limit: int, offset: int, marker: str | None = None
    ) -> tuple[Sequence[Any], int | None]:
        """The rows of one page of `items` (anything with an id), and the count told with them."""
        limit = min((limit + 1) // 2 if self.short else limit, self.cap)
        first = self._after(items, marker) + self._skipped(limit, offset)
        shown = items[first:][:limit]
        told = {
            "total": len(items),
            "page": len(shown),
            "so_far": min(first, len(items)) + len(shown),
            "less": max(len(items) - 5, 0),
            "more": len(items) + 5,
            "none": None,
        }
        return shown, told[self.count]

    def _skipped(self, limit: int, offset: int) -> int:
        return {
            "rows": offset,
            "pages": max(offset - 1, 0) * limit,
            "pages_from_0": offset * limit,
            "ignored": 0,
        }[self.offset]

    def _after(self, items: Sequence[Any], marker: str | None) -> int:
        """The place of the row after the marker."""
        if marker is None or self.marker == "ignored":
            return 0
        place = next((place for place, item in enumerate(items, 1) if item.id == marker), None)
        if place is None and self.missing_marker == "bad_request":
            raise invalid("marker")
        if place is None and self.missing_marker == "not_found":
            raise service_error(6200, "The backup does not exist.")
        return place if place is not None else 0 if self.missing_marker == "start" else len(items)

    def changed(self, wishes: JsonObject) -> "Paging":
        """These rules with others for those that `wishes` names.

        ValueError or ApiError says what is wrong.
        """
        return replace(self, **_WISHES(wishes, ""))


_WISHES = fields.record(
    offset=fields.word("rows", "pages", "pages_from_0", "ignored"),
    marker=fields.word("honoured", "everywhere", "ignored"),
    missing_marker=fields.word("empty", "bad_request", "not_found", "start"),
    cap=fields.integer(1, 1000),
    short=fields.boolean,
    count=fields.word("total", "page", "so_far", "less", "more", "none"),
    vaults=fields.word("newest_first", "oldest_first"),
)
