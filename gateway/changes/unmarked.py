"""What callers see of the gateway's own marks: nothing.

Answers, requests and filters are as if there were none.

There is one rule for the tag's key in a request: to set it does nothing, and to everything else
vaults have no such tag. A mark may be in any tag, in a description, and in what a message keeps of
CBR's answer beside its fields. Where messages of such types are, is read from the descriptors; no
RPC is named but the one filter that CBR cannot apply for us.
"""

import re
from collections.abc import Callable, Iterable, Mapping, MutableSequence
from functools import cache
from typing import Any, Final, TypeVar, cast

from cbrgateway.v1 import types_pb2, vault_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value

from gateway.upstream.marker import MARKER, is_mark

_PACKAGE: Final = "cbrgateway.v1."
_TAGS: Final = frozenset({f"{_PACKAGE}Tag", f"{_PACKAGE}TagValues"})
_FILTERS: Final = f"{_PACKAGE}TagFilter"
_NO_MARK: Final = "-"
"""A value that no mark has, so that a filter for it finds what one for a missing tag does."""
_DESCRIPTION: Final = re.compile(rf"{MARKER} [A-Za-z0-9_.-]{{1,128}}")
_STRUCT: Final = "google.protobuf.Struct"

Clear = Callable[[Any, Any], None]
"""Takes the marks out of a field; is given the message and the field's value."""

Request = TypeVar("Request", bound=Message)


def unmarked(message: Request) -> Request:
    """A request without marks, such as one that was made of what another gateway's or an older
    one's callers could read.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    clear(copy)
    return copy


def may_hold_mark(message: Message) -> bool:
    """Whether messages of its type have a place for one."""
    return bool(_plan(cast("Descriptor", message.DESCRIPTOR)))


def clear(message: Message) -> None:
    """Takes the marks out of a message."""
    _clear_each((message,), cast("Descriptor", message.DESCRIPTOR))


def _clear_each(messages: Iterable[Message], descriptor: Descriptor) -> None:
    plan = _plan(descriptor)
    for message in messages:
        for name, singular, act in plan:
            if (value := getattr(message, name)) and (not singular or message.HasField(name)):
                act(message, value)


@cache
def _plan(descriptor: Descriptor) -> tuple[tuple[str, bool, Clear], ...]:
    """The fields of a message type that may hold a mark.

    Each with whether it is one message, and how it is cleared.
    """
    return tuple(
        (fd.name, fd.message_type is not None and not fd.is_repeated, act)
        for fd in descriptor.fields
        if (act := _act(fd))
    )


def _act(fd: FieldDescriptor) -> Clear | None:
    if (plain := _plain(fd)) is not None:
        return plain
    if _is_text(fd):
        return lambda message, text: (
            message.ClearField(fd.name) if _DESCRIPTION.fullmatch(text) else None
        )
    inside = fd.message_type
    if inside is None or not _reaches(inside, frozenset()):
        return None
    if fd.is_repeated:
        return lambda _message, values: _clear_each(values, inside)
    return lambda _message, value: _clear_each((value,), inside)


def _plain(fd: FieldDescriptor) -> Clear | None:
    """How a field is cleared whose type alone says what is in it."""
    kind = fd.message_type.full_name if fd.message_type else ""
    if kind in _TAGS:
        return _drop if fd.is_repeated else None
    clears: Mapping[str, Clear] = {_FILTERS: _find_nothing, _STRUCT: _clear_struct}
    return clears.get(kind)


def _is_text(fd: FieldDescriptor) -> bool:
    return bool(fd.name == "description" and fd.type == fd.TYPE_STRING)


def _reaches(descriptor: Descriptor, above: frozenset[str]) -> bool:
    """Whether a message type has a field that may hold a mark, at any depth."""
    if (
        not descriptor.full_name.startswith(_PACKAGE)
        or descriptor.full_name in above
        or descriptor.GetOptions().map_entry
    ):
        return False
    inside = above | {descriptor.full_name}
    return any(
        _plain(fd)
        or _is_text(fd)
        or (fd.message_type is not None and _reaches(fd.message_type, inside))
        for fd in descriptor.fields
    )


def _drop(_message: Message, tags: MutableSequence[types_pb2.Tag]) -> None:
    for index in reversed(range(len(tags))):
        if is_mark(tags[index].key):
            del tags[index]


def _find_nothing(_message: Message, filters: Iterable[vault_pb2.TagFilter]) -> None:
    for each in filters:
        if is_mark(each.key):
            each.values[:] = [_NO_MARK]


def _clear_struct(_message: Message, struct: Struct) -> None:
    for key in list(struct.fields):
        if is_mark(key) or _is_mark(struct.fields[key]):
            del struct.fields[key]
        else:
            _clear_value(struct.fields[key])


def _clear_value(value: Value) -> None:
    if value.HasField("struct_value"):
        _clear_struct(value, value.struct_value)
    elif value.HasField("list_value"):
        items = value.list_value.values
        for index in reversed(range(len(items))):
            if _is_mark(items[index]):
                del items[index]
            else:
                _clear_value(items[index])


def _is_mark(value: Value) -> bool:
    if value.HasField("struct_value"):
        return (
            is_mark(value.struct_value.fields["key"].string_value)
            if "key" in value.struct_value.fields
            else False
        )
    return bool(_DESCRIPTION.fullmatch(value.string_value))
