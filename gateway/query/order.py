"""`order_by`: fields, each with `desc` or not, separated by commas (AIP-132)."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.descriptor import Descriptor
from msgspec import Struct

from gateway.errors import GatewayError, field_invalid
from gateway.query.fields import Field, WrongFieldError, field_of
from gateway.upstream.rows import row_id

_MOST: Final = 5
_WORD: Final = re.compile(r"\S+")
_DIRECTIONS: Final = {"": False, "asc": False, "desc": True}


class Key(Struct, frozen=True):
    """One field of an order."""

    path: str
    field: Field
    falling: bool


def keys(text: str, row: Descriptor) -> list[Key]:
    """Raises FIELD_INVALID with the position."""
    found: list[Key] = []
    place = 0
    for part in text.split(","):
        if len(found) == _MOST:
            raise _wrong(place + 1, f"an order has at most {_MOST} fields")
        found.append(_key(part, place, row))
        place += len(part) + 1
    return found


def _key(part: str, place: int, row: Descriptor) -> Key:
    """`place`: of its first character, from 0."""
    words = [(each[0], place + each.start() + 1) for each in _WORD.finditer(part)]
    path, at = words[0] if words else ("", place + 1)
    direction, told = words[1] if len(words) > 1 else ("", at)
    if direction not in _DIRECTIONS:
        raise _wrong(told, f"`{direction}` is no order; write `desc` or nothing")
    if len(words) > 2:  # noqa: PLR2004
        raise _wrong(words[2][1], "a comma is expected before the next field")
    try:
        field = field_of(row, path)
    except WrongFieldError as error:
        raise _wrong(at + error.offset, str(error)) from None
    if field.many:
        raise _wrong(at, f"a row has several values of `{path}`; order by another field")
    return Key(path, field, _DIRECTIONS[direction])


def ordered(by: Sequence[Key]) -> Callable[[list[Any]], list[Any]]:
    """Sorts rows; those that are equal go by their ids, so that they stand as on the page before
    whatever order CBR shows them in. What is not set comes first.
    """

    def sort(rows: list[Any]) -> list[Any]:
        rows = sorted(rows, key=row_id)
        for key in reversed(by):
            rows = sorted(rows, key=_value_of(key.field), reverse=key.falling)
        return rows

    return sort


def _value_of(field: Field) -> Callable[[Any], tuple[Any, ...]]:
    return lambda row: next(((1, value) for value in field.values(row)), (0, 0))


def _wrong(position: int, description: str) -> GatewayError:
    return field_invalid("order_by", f"position {position}: {description}", "order_by")
