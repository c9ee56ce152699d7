"""Where an answer's JSON differs from the declarations: keys without a field, words that an enum
does not know, types that are not the declared ones.

Unlike the codec this also tells what the codec takes without loss, such as a number where text is
declared, or keeps, such as a key that goes to `extra_fields`. What is damaged (tolerant_json.py)
the codec tells.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from msgspec import Struct

from gateway.upstream import codec, wire
from gateway.upstream.tolerant_json import Damaged
from gateway.upstream.values import Json

_F: Final = FieldDescriptor
_ECHOES: Final = frozenset({"limit", "offset"})
_PLAIN: Final = {
    _F.TYPE_STRING: frozenset({"string"}),
    _F.TYPE_ENUM: frozenset({"string"}),
    _F.TYPE_BOOL: frozenset({"boolean"}),
    _F.TYPE_INT32: frozenset({"integer"}),
    _F.TYPE_INT64: frozenset({"integer"}),
    _F.TYPE_DOUBLE: frozenset({"integer", "number"}),
    _F.TYPE_FLOAT: frozenset({"integer", "number"}),
}
_WELL_KNOWN: Final = {
    "google.protobuf.Timestamp": frozenset({"string"}),
    "google.type.Date": frozenset({"string"}),
    "google.protobuf.Struct": frozenset({"object"}),
}
_ANYTHING: Final = frozenset({"string", "boolean", "integer", "number", "array", "object"})


class Kind(StrEnum):
    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_WORD = "unknown_word"
    UNEXPECTED_TYPE = "unexpected_type"
    UNREADABLE = "unreadable"


class Difference(Struct, frozen=True):
    """One member that is not as declared.

    `path`: keys from the answer's root, `[]` for the items of an array. `word`: of an enum, what
    was met.
    """

    path: str
    kind: Kind
    type: str
    expected: str = ""
    word: str = ""


def json_type(value: Json) -> str:
    """The JSON type; of an array those of its items, too."""
    if type(value) is list:
        items = sorted({json_type(item).partition(" ")[0] for item in value})
        return f"array of {' and '.join(items)}" if items else "array"
    if type(value) is Damaged:
        return json_type(value.kept)
    names: dict[object, str] = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        dict: "object",
    }
    return names.get(type(value), "null")


def differences(descriptor: Descriptor, value: Json, path: str = "") -> Iterator[Difference]:
    """Those of an answer, or of an object inside one."""
    if type(value) is not dict:
        yield Difference(path, Kind.UNEXPECTED_TYPE, json_type(value), "object")
        return
    fields = wire.fields_by_key(descriptor)
    if any(wire.form(fd) == options_pb2.WIRE_FORM_WHOLE_BODY for fd in fields.values()):
        return
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        fd = fields.get(key)
        if fd is None and key not in _ECHOES:
            yield Difference(here, Kind.UNKNOWN_KEY, json_type(item))
        elif fd is not None and item is not None and type(item) is not Damaged:
            yield from _of_field(fd, item, here)


def _of_field(fd: FieldDescriptor, value: Json, path: str) -> Iterator[Difference]:
    if wire.is_map(fd):
        if type(value) is not dict:
            yield Difference(path, Kind.UNEXPECTED_TYPE, json_type(value), "object")
        return
    if not fd.is_repeated:
        yield from _single(fd, value, path)
    elif type(value) is list:
        for item in value:
            yield from _single(fd, item, f"{path}[]")
    elif wire.form(fd) == options_pb2.WIRE_FORM_ONE_OR_MANY:
        yield from _single(fd, value, path)
    else:
        yield Difference(path, Kind.UNEXPECTED_TYPE, json_type(value), "array")


def _single(fd: FieldDescriptor, value: Json, path: str) -> Iterator[Difference]:
    if type(value) is Damaged:
        return
    if codec.is_planned(fd):
        assert fd.message_type is not None
        yield from differences(fd.message_type, value, path)
        return
    allowed, found = _allowed(fd), json_type(value)
    if found.partition(" ")[0] not in allowed:
        yield Difference(path, Kind.UNEXPECTED_TYPE, found, " or ".join(sorted(allowed)))
    elif fd.enum_type is not None and value and value not in wire.words(fd.enum_type).values():
        yield Difference(path, Kind.UNKNOWN_WORD, found, f"a word of {fd.enum_type.name}", value)


def _allowed(fd: FieldDescriptor) -> frozenset[str]:
    match wire.form(fd):
        case options_pb2.WIRE_FORM_TEXT:
            return _PLAIN[fd.type] | {"string"}
        case options_pb2.WIRE_FORM_UNIX_SECONDS:
            return frozenset({"integer"})
    if fd.message_type is not None:
        return _WELL_KNOWN.get(fd.message_type.full_name, _ANYTHING)
    return _PLAIN[fd.type]
