"""From a message to plain data: what JSON has, and numbers that are numbers.

protobuf's own form writes 64-bit numbers as text, which no query can compare.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def plain(message: Message) -> dict[str, Any]:
    """Every field that is set or has a value anyway; by the names of the protos."""
    return {
        field.name: _value(cast("FieldDescriptor", field), getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _value(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 - any field's
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {str(key): _single(inner, each) for key, each in value.items()}
    if field.is_repeated:
        return [_single(field, each) for each in value]
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:  # noqa: ANN401 - as above
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known else value
    if field.message_type is None:
        return value
    special = _SPECIAL.get(field.message_type.full_name)
    return special(value) if special else plain(value)


def _json(value: Any) -> Any:  # noqa: ANN401 - a Struct, a Value or a list of them
    from google.protobuf import json_format

    return json_format.MessageToDict(value)


def _any(value: Any) -> Any:  # noqa: ANN401 - an Any
    # The kinds of details that an error may hold must be known to be shown.
    from google.rpc import error_details_pb2  # noqa: F401

    return _json(value)


_SPECIAL: Final[dict[str, Callable[[Any], Any]]] = {
    "google.protobuf.Timestamp": lambda value: value.ToJsonString(),
    "google.protobuf.Duration": lambda value: value.ToJsonString(),
    "google.protobuf.Struct": _json,
    "google.protobuf.Value": _json,
    "google.protobuf.ListValue": _json,
    "google.protobuf.Any": _any,
}
