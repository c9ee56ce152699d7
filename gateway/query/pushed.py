"""What of a filter or an order CBR can do itself, by the declarations of a list's request."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import Struct

from gateway.query.fields import Field
from gateway.query.grammar import Both, Comparison, Tree
from gateway.query.order import Key
from gateway.query.predicate import literal, named
from gateway.upstream import wire
from gateway.upstream.declaration import IDENTIFIER
from gateway.upstream.id_fields import refers

_ID: Final = re.compile(IDENTIFIER)
_NANOS: Final = 1_000_000_000
_SECONDS_OF: Final[Mapping[str, int]] = {">=": 0, "<=": 1}
"""What a bound is moved by: CBR may cut fractions off, or not take the bound itself in."""


class _Target(Struct, frozen=True):
    """A field of a request by which CBR filters. `exactly`: as the comparison says, else it may
    show more.
    """

    field: FieldDescriptor
    exactly: bool


def pushed(tree: Tree, request: Any, row: Descriptor) -> bool:  # noqa: ANN401 - any list request
    """Sets the fields of a request that say the same as parts of a filter, where they are not set.

    Answers whether they say all of it. Raises FIELD_INVALID.
    """
    targets, whole = _targets(request.DESCRIPTOR), True
    for part in _required(tree):
        whole = isinstance(part, Comparison) and _push(part, request, row, targets) and whole
    return whole


def _required(tree: Tree) -> Iterator[Tree]:
    """The parts that all have to be so."""
    if isinstance(tree, Both) and tree.every:
        for part in tree.parts:
            yield from _required(part)
    else:
        yield tree


def _push(
    asked: Comparison,
    request: Any,  # noqa: ANN401 - any list request
    row: Descriptor,
    targets: Mapping[str, _Target],
) -> bool:
    """Whether CBR leaves out exactly the rows that the comparison does."""
    operator = asked.operator if asked.operator not in "<>" else f"{asked.operator}="
    field = named(asked, row)
    target = targets.get(f"{field.path} {operator}")
    if target is None or _is_set(request, target.field):
        return False
    value = literal(asked, field)
    if not _has_form(value, target.field) or asked.is_presence:
        return False
    _set(request, target.field, value, field, operator)
    return target.exactly and operator == asked.operator


def _has_form(value: Any, fd: FieldDescriptor) -> bool:  # noqa: ANN401 - as the field's values
    """Whether a request can hold it: an empty one is the same as none, and CBR has no word for
    OTHER.
    """
    if refers(fd):
        return _ID.fullmatch(value) is not None
    return bool(value) and (fd.enum_type is None or value > wire.OTHER)


def _is_set(request: Message, fd: FieldDescriptor) -> bool:
    return any(fd.name == known.name for known, _ in request.ListFields())


def _set(
    request: Any,  # noqa: ANN401 - as above
    fd: FieldDescriptor,
    value: Any,  # noqa: ANN401 - as the field's values
    field: Field,
    operator: str,
) -> None:
    if field.is_moment:
        getattr(request, fd.name).seconds = value // _NANOS + _SECONDS_OF[operator]
    elif fd.is_repeated:
        getattr(request, fd.name).append(value)
    else:
        setattr(request, fd.name, value)


@cache
def _targets(request: Descriptor) -> Mapping[str, _Target]:
    """By the comparison that they can stand for, such as `vault_id =`.

    Ids and words of enums are compared by CBR as they are; of names it may look for a part.
    """
    return {
        comparison: _Target(fd, exactly=bool(refers(fd)) or fd.enum_type is not None)
        for fd in request.fields
        if (comparison := comparison_of(fd))
    }


def comparison_of(fd: FieldDescriptor) -> str:
    """The comparison of rows that the field of a list's request stands for; empty for none."""
    return str(fd.GetOptions().Extensions[options_pb2.filters])


def sorted_by_cbr(by: Sequence[Key], request: Any) -> bool:  # noqa: ANN401 - any list request
    """Has CBR put the rows in order, where it can; whether it does."""
    known = request.DESCRIPTOR.fields_by_name.get("sort")
    if known is None or request.sort:
        return False
    allowed = sort_keys(known)
    keys = [wire.json_key(key.field.leaf) for key in by]
    # CBR orders words of enums in its own way.
    if any(key not in allowed for key in keys) or any(key.field.leaf.enum_type for key in by):
        return False
    request.sort = ",".join(
        f"{key}:{'desc' if each.falling else 'asc'}" for key, each in zip(keys, by, strict=True)
    )
    return True


@cache
def sort_keys(fd: FieldDescriptor) -> frozenset[str]:
    """The keys that CBR sorts by, as the field declares them."""
    return frozenset(fd.GetOptions().Extensions[options_pb2.sorts])
