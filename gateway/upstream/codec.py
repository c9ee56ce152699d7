"""Protobuf messages to and from CBR's JSON: the plan of each message type (message_plan.py), with
the converters of its fields (values.py), by what the proto declares of them (wire.py).

protobuf's own json_format is not used: it sends int64 as strings, knows no units, fixes the
spelling of enums and is several times slower.
"""

from collections.abc import Callable, Mapping
from typing import Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gateway.upstream import values, wire
from gateway.upstream.message_plan import MessagePlan, Reader
from gateway.upstream.values import Json, NotEncodableError
from gateway.upstream.wire import EXTRA, OTHER, REAL

_F: Final = FieldDescriptor
_WELL_KNOWN: Final[Mapping[str, tuple[Callable[[Json], Json], Callable[[Json], Json]]]] = {
    "google.protobuf.Timestamp": (values.read_timestamp, values.write_timestamp),
    "google.protobuf.Struct": (values.read_struct, values.write_struct),
    "google.protobuf.Value": (values.read_value, values.write_value),
    "google.type.Date": (values.read_date, values.write_date),
}
_SCALAR: Final[Mapping[int, Callable[[Json], Json]]] = {
    _F.TYPE_STRING: values.read_string,
    _F.TYPE_BOOL: values.read_bool,
    _F.TYPE_INT32: values.read_int32,
    _F.TYPE_INT64: values.read_int64,
    **dict.fromkeys(REAL, values.read_real),
}


class Codecs:
    """Keeps the plan of every message type it is asked for, and compiles its parts."""

    def __init__(self) -> None:
        self._plans: dict[str, MessagePlan] = {}

    def plan(self, descriptor: Descriptor) -> MessagePlan:
        """The plan of a message type. The descriptor's rules must have been checked."""
        known = self._plans.get(descriptor.full_name)
        if known is not None:
            return known
        plan = self._plans[descriptor.full_name] = MessagePlan(descriptor, self)
        return plan

    def reader(self, fd: FieldDescriptor, raw: str) -> Reader:
        if wire.is_map(fd):
            return Reader(
                fd.name, self._single_reader(_message(fd).fields_by_name["value"]), map=True
            )
        one_too = wire.form(fd) == options_pb2.WIRE_FORM_ONE_OR_MANY
        message = is_planned(fd)
        leaves = message and EXTRA not in _message(fd).fields_by_name
        plan = self.plan(_message(fd)) if message else None
        return Reader(
            fd.name,
            self._single_reader(fd),
            raw,
            message,
            leaves,
            many=fd.is_repeated,
            one_too=one_too,
            plan=plan,
        )

    def _single_reader(self, fd: FieldDescriptor) -> Callable[..., Json]:
        if fd.type == _F.TYPE_ENUM:
            numbers = {word: number for number, word in wire.words(_enum(fd)).items()}
            repeated = fd.is_repeated

            def read_enum(value: Json) -> Json:
                number = numbers.get(values.read_string(value))
                return OTHER if number is None and repeated else number

            return read_enum
        if fd.type == _F.TYPE_MESSAGE:
            if wire.form(fd) == options_pb2.WIRE_FORM_JSON_TEXT:
                return values.read_json_text
            well_known = _WELL_KNOWN.get(wire.type_name(fd))
            return well_known[0] if well_known else self.plan(_message(fd)).read_part
        return _SCALAR[fd.type]

    def writer(self, fd: FieldDescriptor) -> Callable[[Json], Json]:
        if wire.is_map(fd):
            single = self._single_writer(_message(fd).fields_by_name["value"])
            return lambda items: {key: single(item) for key, item in items.items()}
        single = self._single_writer(fd)
        if not fd.is_repeated:
            return single
        if wire.form(fd) == options_pb2.WIRE_FORM_COMMA_SEPARATED:
            return values.write_separated
        return lambda items: [_at(index, single, item) for index, item in enumerate(items)]

    def _single_writer(self, fd: FieldDescriptor) -> Callable[[Json], Json]:
        if wire.is_null(fd):
            return lambda _value: None
        if fd.type == _F.TYPE_ENUM:
            return _word_of(wire.words(_enum(fd)))
        if fd.type == _F.TYPE_MESSAGE:
            if wire.form(fd) == options_pb2.WIRE_FORM_UNIX_SECONDS:
                return values.write_unix_seconds
            well_known = _WELL_KNOWN.get(wire.type_name(fd))
            return well_known[1] if well_known else self.plan(_message(fd)).write
        if fd.type in REAL:
            return values.write_real
        return values.write_text if wire.form(fd) == options_pb2.WIRE_FORM_TEXT else values.same


def _at(index: int, write: Callable[[Json], Json], item: Json) -> Json:
    try:
        return write(item)
    except NotEncodableError as error:
        raise error.inside(f"[{index}]") from None


def _word_of(known: Mapping[int, str]) -> Callable[[Json], Json]:
    def write_enum(number: Json) -> Json:
        try:
            return known[number]
        except KeyError:
            raise NotEncodableError(
                "is not a value that CBR knows; use one of the named values", "enum"
            ) from None

    return write_enum


def is_planned(fd: FieldDescriptor) -> bool:
    """Whether the field's values are messages of ours, each read by its plan."""
    return fd.type == _F.TYPE_MESSAGE and wire.type_name(fd) not in _WELL_KNOWN


def _message(fd: FieldDescriptor) -> Descriptor:
    assert fd.message_type is not None
    return fd.message_type


def _enum(fd: FieldDescriptor) -> EnumDescriptor:
    assert fd.enum_type is not None
    return fd.enum_type
