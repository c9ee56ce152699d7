"""What the fields of a message are on the wire, CBR's JSON, as the proto declares it: keys, forms,
words, and what must be there.

Field options (`json`, `former_json`, `form`, `wire`, `empty`, `required`, `answer_only`) are read
here and nowhere else.
"""

from functools import cache
from typing import Any, Final, cast

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

UNREADABLE_ROWS: Final = "unreadable_rows"
EXTRA: Final = "extra_fields"
GATEWAY_FIELDS: Final = frozenset(
    {
        *(
            "request_id",
            "validate_only",
            "validation",
            "force",
            "etag",
            "page_size",
            "page_token",
            "next_page_token",
            "submission",
            "submission_id",
            "revision",
            "failure",
            "filter",
            "order_by",
            "read_mask",
        ),
        UNREADABLE_ROWS,
        EXTRA,
    }
)
"""Fields that the gateway itself reads or writes; they never have a JSON key."""

_F: Final = FieldDescriptor
_WHOLE: Final = frozenset({_F.TYPE_INT32, _F.TYPE_INT64})
REAL: Final = frozenset({_F.TYPE_DOUBLE, _F.TYPE_FLOAT})
ECHOES: Final = frozenset({"limit", "offset"})
"""Members of list answers that only repeat what the gateway asked for."""
OTHER: Final = 1
"""Number of the value that stands for words an enum does not know."""


@cache
def json_key(descriptor: FieldDescriptor) -> str:
    """The field's key in JSON, or its name in a query."""
    return descriptor.GetOptions().Extensions[options_pb2.json] or descriptor.name


def read_keys(descriptor: FieldDescriptor) -> tuple[str, ...]:
    """The field's keys in answers: that of older ones, where there is one, and its own."""
    former = str(descriptor.GetOptions().Extensions[options_pb2.former_json])
    return (former, json_key(descriptor)) if former else (json_key(descriptor),)


def fields_by_key(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """The fields that answers of CBR fill, by each key that they are read from."""
    return {
        key: fd
        for fd in descriptor.fields
        if fd.name not in GATEWAY_FIELDS
        for key in read_keys(fd)
    }


@cache
def form(descriptor: FieldDescriptor) -> int:
    """The field's WireForm."""
    return int(descriptor.GetOptions().Extensions[options_pb2.form])


@cache
def empty(descriptor: FieldDescriptor) -> int:
    """The declared meaning of a field that is not set or empty: a value of Empty."""
    return int(descriptor.GetOptions().Extensions[options_pb2.empty])


@cache
def answer_only(descriptor: FieldDescriptor) -> bool:
    """Whether only CBR sets the field: it is read and never written, so what a caller sends back of
    an answer has no effect.
    """
    return bool(descriptor.GetOptions().Extensions[options_pb2.answer_only])


def words(enum: EnumDescriptor) -> dict[int, str]:
    """The vendor's word of each value but UNSPECIFIED and OTHER, by number."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    known = {}
    for number, value in enum.values_by_number.items():
        if number > OTHER:
            known[number] = (
                value.GetOptions().Extensions[options_pb2.wire]
                or value.name.removeprefix(prefix).lower()
            )
    return known


@cache
def kind_problem(descriptor: FieldDescriptor) -> str | None:
    """Why the field has no JSON form, or None when it has one."""
    allowed = {_F.TYPE_STRING, _F.TYPE_BOOL, _F.TYPE_ENUM, _F.TYPE_MESSAGE} | _WHOLE | REAL
    if is_map(descriptor):
        return _map_problem(cast("Descriptor", descriptor.message_type))
    if descriptor.type not in allowed:
        return (
            "its type has no JSON form; use string, bool, int32, int64, double, an enum or a"
            " message"
        )
    wanted = {
        options_pb2.WIRE_FORM_TEXT: descriptor.type in {_F.TYPE_BOOL} | _WHOLE,
        options_pb2.WIRE_FORM_JSON_TEXT: type_name(descriptor) == "google.protobuf.Value",
        options_pb2.WIRE_FORM_UNIX_SECONDS: type_name(descriptor) == "google.protobuf.Timestamp",
        options_pb2.WIRE_FORM_COMMA_SEPARATED: (
            descriptor.is_repeated and descriptor.type == _F.TYPE_STRING
        ),
        options_pb2.WIRE_FORM_ONE_OR_MANY: descriptor.is_repeated,
        options_pb2.WIRE_FORM_WHOLE_BODY: (
            type_name(descriptor) == "google.protobuf.Struct" and not descriptor.is_repeated
        ),
    }
    if not wanted.get(cast("Any", form(descriptor)), True):
        return (
            f"{options_pb2.WireForm.Name(cast('Any', form(descriptor)))} does not go with its type"
        )
    return None


def _map_problem(entry: Descriptor) -> str | None:
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    if (
        key.type != _F.TYPE_STRING
        or value.type not in {_F.TYPE_STRING, _F.TYPE_BOOL} | _WHOLE | REAL
    ):
        return (
            "a map has no JSON form unless it goes from string to string, bool, int32, int64 or"
            " double"
        )
    return None


def type_name(descriptor: FieldDescriptor) -> str:
    return str(descriptor.message_type.full_name) if descriptor.message_type else ""


@cache
def is_map(descriptor: FieldDescriptor) -> bool:
    return bool(descriptor.message_type and descriptor.message_type.GetOptions().map_entry)


@cache
def required(fd: FieldDescriptor) -> int:
    """The field's Required."""
    return int(fd.GetOptions().Extensions[options_pb2.required])


@cache
def rows_field(response: Descriptor) -> str:
    """Name of the field that holds the rows of a list's response."""
    return next(fd.name for fd in response.fields if fd.is_repeated and fd.message_type)


def is_null(fd: FieldDescriptor) -> bool:
    return fd.enum_type is not None and fd.enum_type.full_name == "google.protobuf.NullValue"


def raw_sibling(descriptor: Descriptor, fd: FieldDescriptor) -> str:
    """Name of the string field that holds an enum's unknown word, or empty."""
    name = f"{fd.name}_raw"
    return name if fd.type == _F.TYPE_ENUM and name in descriptor.fields_by_name else ""


def is_raw(descriptor: Descriptor, fd: FieldDescriptor) -> bool:
    sibling = (
        descriptor.fields_by_name.get(fd.name.removesuffix("_raw"))
        if fd.name.endswith("_raw")
        else None
    )
    return sibling is not None and sibling.type == _F.TYPE_ENUM
