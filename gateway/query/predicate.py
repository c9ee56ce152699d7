"""From the tree of a filter to what it says of a row."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor

from gateway.query.fields import Field, WrongFieldError, field_of
from gateway.query.grammar import Both, Comparison, Not, Tree
from gateway.query.tokens import wrong

Keep = Callable[[Any], bool]
"""Whether a row is wanted."""

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def predicate(tree: Tree, row: Descriptor) -> Keep:
    """Raises FIELD_INVALID for fields and values that rows cannot have."""
    match tree:
        case Not(part):
            inner = predicate(part, row)
            return lambda each: not inner(each)
        case Both(parts, every):
            kept = [predicate(part, row) for part in parts]
            if every:
                return lambda each: all(keep(each) for keep in kept)
            return lambda each: any(keep(each) for keep in kept)
        case _:
            return _comparison(tree, row)


def _comparison(asked: Comparison, row: Descriptor) -> Keep:
    field = named(asked, row)
    if asked.operator == ":":
        return _has(asked, field)
    if field.many:
        text = f"a row has several values of `{asked.path.text}`; use `:` to look for one of them"
        raise wrong(asked.path.position, text)
    if asked.operator not in {"=", "!="} and not field.is_ordered:
        raise wrong(asked.path.position, f"`{asked.path.text}` has no order; use = or !=")
    value, compare = literal(asked, field), _COMPARE[asked.operator]
    wanted = asked.operator != "!="
    return lambda each: any(compare(found, value) for found in field.values(each)) is wanted


def _has(asked: Comparison, field: Field) -> Keep:
    """`:`. Text that holds a text, or anything at all; of other fields one of the values."""
    if asked.is_presence:
        return lambda each: any(found not in ("", 0) for found in field.values(each))
    value = literal(asked, field)
    if field.is_text:
        return lambda each: any(value in found for found in field.values(each))
    return lambda each: any(found == value for found in field.values(each))


def named(asked: Comparison, row: Descriptor) -> Field:
    """Raises FIELD_INVALID."""
    try:
        return field_of(row, asked.path.text, whole=asked.is_presence)
    except WrongFieldError as error:
        raise wrong(asked.path.position + error.offset, str(error)) from None


def literal(asked: Comparison, field: Field) -> Any:  # noqa: ANN401 - as the field's values
    """Raises FIELD_INVALID."""
    try:
        return field.literal(asked.value.text)
    except WrongFieldError as error:
        raise wrong(asked.value.position, str(error)) from None
