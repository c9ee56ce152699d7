"""From a value to the text of a cell: short, on one line, and harmless on a terminal."""

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from cbrctl.index import Column

NOTHING: Final = "-"
_WIDE: Final = {"W", "F"}


def at(row: Mapping[str, Any], path: Any) -> Any:  # noqa: ANN401 - whatever is there
    """What is at the path; None where a part of it is not there."""
    found: Any = row
    for part in path:
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def cell(row: Mapping[str, Any], column: Column) -> str:
    """Enums by their short word, or CBR's own where there is none. Empty: there is no value."""
    value = at(row, column.path)
    if column.kind == "enum" and isinstance(value, list):
        return ",".join(str(each).removeprefix(column.prefix).lower() for each in value)
    if column.kind == "enum" and isinstance(value, str):
        short = value.removeprefix(column.prefix).lower()
        if short == "unspecified":
            return ""
        raw = at(row, (*column.path[:-1], column.raw)) if column.raw else ""
        return harmless(raw) if short == "other" and raw else short
    return text(value)


def text(value: Any) -> str:  # noqa: ANN401 - any value of JSON
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(text(each) for each in value)
    if isinstance(value, Mapping):
        if value.keys() >= {"year", "month", "day"}:
            return "{year:04}-{month:02}-{day:02}".format(**value)
        return ",".join(f"{key}={text(each)}" for key, each in value.items())
    return harmless(str(value))


def harmless(shown: str) -> str:
    """Without what would move the cursor, break the line or turn the text around."""
    if shown.isprintable():
        return shown
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in shown
    )


def width(shown: str) -> int:
    """Columns of a terminal: Chinese characters take two."""
    if shown.isascii():
        return len(shown)
    return sum(
        2 if unicodedata.east_asian_width(each) in _WIDE else not unicodedata.combining(each)
        for each in shown
    )
