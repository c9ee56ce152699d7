"""`order_by`: fields, each with `desc` or not, separated by commas (AIP-132)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import Descriptor

from gateway.errors import GatewayError, field_invalid
from gateway.query.fields import Field, WrongFieldError, field_of

_MOST: Final = 5
_DIRECTIONS: Final = {"": False, "asc": False, "desc": True}


@dataclass(frozen=True, slots=True)
class Key:
    """One field of an order."""

    path: str
    field: Field
    falling: bool


def keys(text: str, row: Descriptor) -> list[Key]:
    """Raises FIELD_INVALID with the position."""
    found, place = [], 0
    for part in text.split(","):
        path, _, direction = part.strip().partition(" ")
        at = place + len(part) - len(part.lstrip()) + 1
        if direction.strip() not in _DIRECTIONS:
            raise _wrong(at, f"`{direction.strip()}` is no order; write `desc` or nothing")
        try:
            field = field_of(row, path)
        except WrongFieldError as error:
            raise _wrong(at, str(error)) from None
        if field.many:
            raise _wrong(at, f"a row has several values of `{path}`; order by another field")
        found.append(Key(path, field, _DIRECTIONS[direction.strip()]))
        place += len(part) + 1
    if len(found) > _MOST:
        raise field_invalid("order_by", f"has at most {_MOST} fields", "order_by")
    return found


def ordered(by: Sequence[Key]) -> Callable[[list[Any]], list[Any]]:
    """Sorts rows; those that are equal stay as they were. What is not set comes first."""

    def sort(rows: list[Any]) -> list[Any]:
        for key in reversed(by):
            rows = sorted(rows, key=_value_of(key.field), reverse=key.falling)
        return rows

    return sort


def _value_of(field: Field) -> Callable[[Any], tuple[Any, ...]]:
    return lambda row: next(((1, value) for value in field.values(row)), (0, 0))


def _wrong(position: int, description: str) -> GatewayError:
    return field_invalid("order_by", f"position {position}: {description}", "order_by")
