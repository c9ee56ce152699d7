"""Messages as JSON, by protobuf's own mapping; and what is wrong with a request in JSON, by the
names of its fields.

Paths of a mask are taken by the names that JSON has for fields, as protobuf writes them, and by
those of the protos, which it would refuse.

Unknown fields are refused, as in the binary form (ADR 0007): what a caller asks for and the gateway
does not know must not be left out without a word.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from cbrgateway.v1 import errors_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.errors import GatewayError, Violation, field_invalid
from gateway.rpc.status import MAX_VIOLATIONS
from gateway.upstream.reference import allowed_values

_OF_PROTOBUF: Final = "google.protobuf."
"""Messages with a form of their own in JSON."""
_MASK: Final = "google.protobuf.FieldMask"
_KINDS: Final = {
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_INT32: "a whole number from -2147483648 to 2147483647",
    FieldDescriptor.CPPTYPE_INT64: "a whole number of at most 64 bits",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number from 0 to 4294967295",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number from 0, of at most 64 bits",
}


def to_json(message: Message) -> bytes:
    return json.dumps(
        json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":")
    ).encode()


def from_json(data: bytes, kind: type[Message]) -> Message:
    """Raises FIELD_INVALID, which names each field that is at fault."""
    try:
        fields = json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        text = "the body is not one JSON object in UTF-8 with each name once; send {} for no fields"
        raise field_invalid("", text, "encoding")
    try:
        masks = _masks(fields, kind.DESCRIPTOR)
        plain = {name: value for name, value in fields.items() if name not in masks}
        message = json_format.ParseDict(plain, kind())
        for name, text in masks.items():
            _set_mask(message, name, text)
        if not any(_misread(fields, kind.DESCRIPTOR)):
            return message
    except (json_format.ParseError, RecursionError):
        pass
    found = list(_wrong(fields, kind.DESCRIPTOR, ""))[:MAX_VIOLATIONS]
    if not found:
        text = f"the body is not the JSON form of a {kind.DESCRIPTOR.name}"
        raise field_invalid("", text, "encoding")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    text = f"{found[0].subject}: {found[0].description}{more}"
    raise GatewayError(errors_pb2.ERROR_REASON_FIELD_INVALID, text, violations=found)


def _masks(fields: dict[str, Any], kind: Any) -> dict[str, str]:  # noqa: ANN401 - descriptors have two types
    """Those of a request that are text, by their names in it."""
    known = {name: _field(kind, name) for name in fields}
    once = Counter(fd.name for fd in known.values() if fd is not None)
    return {
        name: fields[name]
        for name, fd in known.items()
        # One that is there twice protobuf refuses.
        if fd is not None and _is_mask(fd) and isinstance(fields[name], str) and once[fd.name] == 1
    }


def _is_mask(fd: FieldDescriptor) -> bool:
    return fd.message_type is not None and fd.message_type.full_name == _MASK


def _set_mask(message: Message, name: str, text: str) -> None:
    fd = _field(message.DESCRIPTOR, name)
    assert fd is not None
    mask: Any = getattr(message, fd.name)
    mask.SetInParent()
    mask.paths.extend(path.strip() for path in text.split(",") if text)


def _field(kind: Any, name: str) -> FieldDescriptor | None:  # noqa: ANN401 - descriptors have two types
    """By its name in JSON or in the proto."""
    found: FieldDescriptor | None
    found = kind.fields_by_camelcase_name.get(name) or kind.fields_by_name.get(name)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) != len(pairs):
        raise ValueError("a name occurs twice")
    return known


def _no_number(_word: str) -> NoReturn:
    raise ValueError("JSON has no such number")


def _misread(fields: dict[str, Any], kind: Any) -> Iterator[bool]:  # noqa: ANN401 - descriptors have two types
    """Whether protobuf takes what it should not, for each field of a message: a field that is there
    by both of its names, for an enum none of its values (of `true`, 1.5 and "1" it makes a number),
    and for a message what is no object (of `[]` and "" it makes an empty one).
    """
    seen: set[str] = set()
    for name, value in fields.items():
        fd = _field(kind, name)
        assert fd is not None
        yield fd.name in seen
        seen.add(fd.name)
        inner = fd.message_type
        rows = value if fd.is_repeated and isinstance(value, list) else [value]
        if fd.enum_type is not None:
            yield any(not _is_value(row, fd) for row in rows)
        elif inner is not None and not inner.full_name.startswith(_OF_PROTOBUF):
            for row in rows:
                if isinstance(row, dict):
                    yield from _misread(row, inner)
                else:
                    yield value is not None


def _is_value(value: object, fd: FieldDescriptor) -> bool:
    assert fd.enum_type is not None
    if value is None or type(value) is int:
        return True
    return isinstance(value, str) and value in fd.enum_type.values_by_name


def _wrong(fields: dict[str, Any], kind: Any, path: str) -> Iterator[Violation]:  # noqa: ANN401 - descriptors have two types
    """The fields at fault of an object that is to be a message, by the names that the proto has.
    `kind`: the message's descriptor.
    """
    seen: dict[str, str] = {}
    for name, value in fields.items():
        fd = _field(kind, name)
        known = fd.name if fd is not None else name
        here = f"{path}.{known}" if path else known
        if fd is None:
            text = f"{kind.name} has no such field; remove it, or update the gateway"
            yield Violation(here, text, "unknown_field")
        elif seen.setdefault(known, name) != name:
            yield Violation(here, f"is there as {seen[known]}, too; send one of them", "encoding")
        else:
            yield from _wrong_value(value, fd, here)


def _wrong_value(value: object, fd: FieldDescriptor, path: str) -> Iterator[Violation]:
    outer: Any = fd.containing_type
    inner: Any = fd.message_type
    nested = inner is not None and not inner.full_name.startswith(_OF_PROTOBUF)
    if nested and not inner.GetOptions().map_entry and value is not None:
        rows = value if fd.is_repeated and isinstance(value, list) else [value]
        for i, row in enumerate(rows):
            here = f"{path}[{i}]" if fd.is_repeated else path
            if isinstance(row, dict):
                yield from _wrong(row, inner, here)
            else:
                yield Violation(here, f"must be an object, a {inner.name}", "encoding")
        if fd.is_repeated and not isinstance(value, list):
            yield Violation(path, "must be a list", "encoding")
        return
    if _is_mask(fd) and isinstance(value, str):
        return
    rows = value if isinstance(value, list) else [value]
    if fd.enum_type is not None and not all(_is_value(row, fd) for row in rows):
        yield Violation(path, f"must be {_expected(fd)}", "encoding")
        return
    try:
        json_format.ParseDict({fd.json_name: value}, GetMessageClass(outer)())
    except (json_format.ParseError, RecursionError):
        yield Violation(path, f"must be {_expected(fd)}", "encoding")


def _expected(fd: FieldDescriptor) -> str:
    if fd.enum_type is not None:
        names = allowed_values(fd) or [value.name for value in fd.enum_type.values]
        what = f"one of {', '.join(names)}"
    elif _is_mask(fd):
        what = "text: paths separated by commas, such as id,createTime"
    elif fd.message_type is not None:
        what = f"the JSON form of a {fd.message_type.full_name}"
    elif fd.type == FieldDescriptor.TYPE_BYTES:
        what = "base64"
    else:
        what = _KINDS[fd.cpp_type]
    return f"a list, each {what}" if fd.is_repeated else what
