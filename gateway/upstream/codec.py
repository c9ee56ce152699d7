"""Protobuf messages to and from CBR's JSON, by a plan compiled once per message type.

A plan is a table: JSON key -> field name and converter (reading), field number -> JSON key and
converter (writing). Field options (`json`, `former_json`, `form`, `wire`, `empty`) are consumed
here and nowhere else. protobuf's own json_format is not used: it sends int64 as strings, knows no
units, fixes the spelling of enums and is several times slower.

Reading is tolerant, since CBR's answers drift from their description: a member that cannot be read
costs itself and nothing else. It is left unset, reported, and kept in `extra_fields`, as is a key
without a field: in that of its message or, where this has none, in that of the message which holds
it, below the same keys (of an array: null in the place of each item of which nothing is left). Only
what is declared `required` makes the message that misses it unreadable, which is then a member or a
row that cannot be read, or, at the top, a ProtocolError. Null means "not set".
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from itertools import islice
from typing import Any, Final, cast

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import Struct

from gateway.upstream import values
from gateway.upstream.tolerant_json import Damaged, is_damaged
from gateway.upstream.values import Json, NotEncodableError, ProtocolError

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
_REAL: Final = frozenset({_F.TYPE_DOUBLE, _F.TYPE_FLOAT})
ECHOES: Final = frozenset({"limit", "offset"})
"""Members of list answers that only repeat what the gateway asked for."""
_MAX_REPORTED: Final = 20
"""Unknown members reported of one object; one answer may hold half a million."""
OTHER: Final = 1
"""Number of the value that stands for words an enum does not know."""


@cache
def json_key(descriptor: FieldDescriptor) -> str:
    """The field's key in JSON, or its name in a query."""
    return descriptor.GetOptions().Extensions[options_pb2.json] or descriptor.name


def former_key(descriptor: FieldDescriptor) -> str:
    """The field's key in older answers, or empty."""
    return str(descriptor.GetOptions().Extensions[options_pb2.former_json])


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
    allowed = {_F.TYPE_STRING, _F.TYPE_BOOL, _F.TYPE_ENUM, _F.TYPE_MESSAGE} | _WHOLE | _REAL
    if is_map(descriptor):
        return _map_problem(cast("Descriptor", descriptor.message_type))
    if descriptor.type not in allowed:
        return (
            "its type has no JSON form; use string, bool, int32, int64, double, an enum or a"
            " message"
        )
    wanted = {
        options_pb2.WIRE_FORM_TEXT: descriptor.type in {_F.TYPE_BOOL} | _WHOLE,
        options_pb2.WIRE_FORM_JSON_TEXT: _type_name(descriptor) == "google.protobuf.Value",
        options_pb2.WIRE_FORM_UNIX_SECONDS: _type_name(descriptor) == "google.protobuf.Timestamp",
        options_pb2.WIRE_FORM_COMMA_SEPARATED: (
            descriptor.is_repeated and descriptor.type == _F.TYPE_STRING
        ),
        options_pb2.WIRE_FORM_ONE_OR_MANY: descriptor.is_repeated,
        options_pb2.WIRE_FORM_WHOLE_BODY: (
            _type_name(descriptor) == "google.protobuf.Struct" and not descriptor.is_repeated
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
        or value.type not in {_F.TYPE_STRING, _F.TYPE_BOOL} | _WHOLE | _REAL
    ):
        return (
            "a map has no JSON form unless it goes from string to string, bool, int32, int64 or"
            " double"
        )
    return None


def _type_name(descriptor: FieldDescriptor) -> str:
    return str(descriptor.message_type.full_name) if descriptor.message_type else ""


@cache
def is_map(descriptor: FieldDescriptor) -> bool:
    return bool(descriptor.message_type and descriptor.message_type.GetOptions().map_entry)


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
    **dict.fromkeys(_REAL, values.read_real),
}

Report = Callable[[str, str, str], None]
"""Is told of a member that was not taken over: message, key, and what is wrong with it; empty where
no field is for it.
"""


def unheard(_message: str, _key: str, _problem: str) -> None:
    """Nobody wants to know."""


class Reader(Struct, frozen=True):
    """How one JSON key becomes one field.

    `read` makes one value of one item; that of a message takes a Report, too.

    For an enum it answers a number, or None for a word it does not know, which then goes to `raw`.
    """

    name: str
    read: Callable[..., Json]
    raw: str = ""
    message: bool = False
    leaves: bool = False
    """Whether it is a message that does not keep what is left of it."""
    many: bool = False
    one_too: bool = False
    map: bool = False
    plan: "MessagePlan | None" = None

    def none(self, item: Json) -> bool:
        """Whether the member says that there is nothing: null, or in place of one object the empty
        array of CBR's operation logs.
        """
        return item is None or (item == [] and self.message and not self.many)

    def single(self, item: Json, report: Report) -> Json:
        if type(item) is Damaged:
            raise ProtocolError(item.problem)
        return self.read(item, report) if self.message else self.read(item)


class Writer(Struct, frozen=True):
    """How one field becomes one JSON member."""

    key: str
    write: Callable[[Json], Json]
    raw: str = ""


class MessagePlan:
    """The plan of one message type.

    Its parts are compiled when they are first needed, because messages may contain themselves, and
    most of them are needed by few processes.
    """

    def __init__(self, descriptor: Descriptor, codecs: "Codecs") -> None:
        self.full_name = descriptor.full_name
        self._descriptor, self._codecs = descriptor, codecs

    @cached_property
    def readers(self) -> dict[str, Reader]:
        """By the JSON key, and by that of older answers."""
        found: dict[str, Reader] = {}
        for fd in self._fields:
            if not is_null(fd):
                reader = self._codecs.reader(fd, raw_sibling(self._descriptor, fd))
                found |= dict.fromkeys(filter(None, (former_key(fd), json_key(fd))), reader)
        return found

    @cached_property
    def writers(self) -> dict[int, Writer]:
        """By the field's number."""
        return {
            fd.number: Writer(
                json_key(fd), self._codecs.writer(fd), raw_sibling(self._descriptor, fd)
            )
            for fd in self._fields
            if not answer_only(fd)
        }

    @cached_property
    def always_sent(self) -> tuple[str, ...]:
        return _keys(self._descriptor, options_pb2.EMPTY_SENT)

    @cached_property
    def clearing(self) -> tuple[str, ...]:
        """Keys that are sent as `[]` where there is nothing else to send."""
        return _keys(self._descriptor, options_pb2.EMPTY_CLEARS)

    @cached_property
    def keeps_extra(self) -> bool:
        return EXTRA in self._descriptor.fields_by_name

    @cached_property
    def whole_body(self) -> str:
        whole = options_pb2.WIRE_FORM_WHOLE_BODY
        return next((fd.name for fd in self._fields if form(fd) == whole), "")

    @cached_property
    def rows(self) -> str:
        """The field of a list's rows, where what cannot be read of them is counted."""
        counted = UNREADABLE_ROWS in self._descriptor.fields_by_name
        return rows_field(self._descriptor) if counted else ""

    @cached_property
    def required(self) -> tuple[str, ...]:
        return _required(self._descriptor, options_pb2.REQUIRED_ALWAYS)

    @cached_property
    def required_one_of(self) -> tuple[str, ...]:
        return _required(self._descriptor, options_pb2.REQUIRED_ONE_OF)

    @property
    def _fields(self) -> Iterator[FieldDescriptor]:
        for fd in self._descriptor.fields:
            if fd.name not in GATEWAY_FIELDS and not is_raw(self._descriptor, fd):
                yield fd

    def read(self, value: Json, report: Report = unheard) -> dict[str, Json]:
        """Constructor arguments of the message.

        Raises ProtocolError if it is no object or misses what is required.
        """
        found = self.read_part(value, report)
        if not self.keeps_extra:
            found.pop(EXTRA, None)
        return found

    def read_part(self, value: Json, report: Report) -> dict[str, Json]:
        """As `read`, for the message that holds this one: what is left stands in EXTRA, also where
        this one has no such field.
        """
        if type(value) is not dict:
            raise ProtocolError("must be an object")
        found = self._members(value, report)
        for name in self.required:
            if found.get(name, "") == "":
                raise ProtocolError(f"has no usable {name}")
        if self.required_one_of and all(found.get(name, "") == "" for name in self.required_one_of):
            raise ProtocolError(f"has no usable {' or '.join(self.required_one_of)}")
        return found

    def _members(self, value: dict[str, Json], report: Report) -> dict[str, Json]:
        if self.whole_body:
            return {self.whole_body: values.read_struct(value)} if value else {}
        found: dict[str, Json] = {}
        extra: dict[str, Json] = {}
        for key, item in value.items():
            reader = self.readers.get(key)
            if reader is None:
                extra[key] = item
                continue
            left = self.take(key, reader, item, found, report)
            if left is None:
                continue
            if reader.name == self.rows:
                found[UNREADABLE_ROWS] = (
                    len(item) - len(found.get(reader.name, ())) if type(item) is list else 1
                )
            else:
                extra[key] = left
        if extra:
            found[EXTRA] = values.free_form(extra)
            if not self.keeps_extra:
                for key in islice(
                    (key for key in extra if key not in ECHOES and key not in self.readers),
                    _MAX_REPORTED,
                ):
                    report(self.full_name, key, "")
        return found

    def take(
        self, key: str, reader: Reader, item: Json, found: dict[str, Json], report: Report
    ) -> Json:
        """Take a member over; what is left of it, or None."""
        if reader.none(item):
            return None
        try:
            if reader.many or reader.map:
                result, left = self._several(key, reader, item, report)
            else:
                result = reader.single(item, report)
                left = result.pop(EXTRA, None) if reader.leaves else None
            _put(found, reader, result, item)
        except ProtocolError as error:
            report(self.full_name, key, str(error))
            return item
        return left

    def _several(self, key: str, reader: Reader, item: Json, report: Report) -> tuple[Json, Json]:
        """What was read of a list or map, and what is left; None: nothing.

        Raises ProtocolError if it is neither.
        """
        if type(item) is Damaged:
            raise ProtocolError(item.problem)
        if reader.map:
            if type(item) is not dict:
                raise ProtocolError("must be an object")
            return self._entries(key, reader, item, report)
        if type(item) is not list:
            if not reader.one_too:
                raise ProtocolError("must be an array")
            item = [item]
        return self._items(key, reader, item, report)

    def _items(
        self, key: str, reader: Reader, items: list[Json], report: Report
    ) -> tuple[list[Json], list[Json] | None]:
        good: list[Json] = []
        left: dict[int, Json] = {}
        for index, item in enumerate(items):
            try:
                result = reader.single(item, report)
            except ProtocolError as error:
                report(self.full_name, key, str(error))
                left[index] = item
                continue
            if reader.leaves and EXTRA in result:
                left[index] = result.pop(EXTRA)
            if result is not None:
                good.append(result)
        return good, [left.get(index) for index in range(max(left) + 1)] if left else None

    def _entries(
        self, key: str, reader: Reader, items: dict[str, Json], report: Report
    ) -> tuple[dict[str, Json], dict[str, Json] | None]:
        good, left = {}, {}
        for name, item in items.items():
            try:
                good[name] = reader.single(item, report)
            except ProtocolError as error:
                report(self.full_name, key, str(error))
                left[name] = item
        return good, left or None

    def left(self, value: Json) -> dict[str, Json]:
        """The members, at any depth, that `read` does not take over: without a field, or not to be
        read.
        """
        left: dict[str, Json] = {}
        for key, item in value.items() if type(value) is dict else ():
            reader = self.readers.get(key)
            if reader is None:
                kept = item
            elif reader.none(item):
                continue
            elif reader.plan is not None and type(item) is dict and not reader.many:
                kept = reader.plan.left(item) or None
            else:
                taken = not is_damaged(item) and self.take(key, reader, item, {}, unheard) is None
                kept = None if taken else item
            if kept is not None:
                left[key] = kept
        return left

    def write(self, message: Message) -> dict[str, Json]:
        """The JSON object of the fields that are set."""
        out: dict[str, Json] = {key: [] for key in self.always_sent}
        for descriptor, value in message.ListFields():
            writer = self.writers.get(descriptor.number)
            if writer is None:
                continue
            if writer.raw and value == OTHER and (word := getattr(message, writer.raw)):
                out[writer.key] = word
                continue
            try:
                out[writer.key] = writer.write(value)
            except NotEncodableError as error:
                raise error.inside(descriptor.name) from None
        return out or {key: [] for key in self.clearing}


def _put(found: dict[str, Json], reader: Reader, result: Json, item: Json) -> None:
    """A member as it was read; the word of an enum that does not know it."""
    if result is not None:
        found[reader.name] = result
    elif reader.raw and item != "":
        found[reader.name] = OTHER
        found[reader.raw] = values.read_string(item)


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
        if is_map(fd):
            return Reader(
                fd.name, self._single_reader(_message(fd).fields_by_name["value"]), map=True
            )
        one_too = form(fd) == options_pb2.WIRE_FORM_ONE_OR_MANY
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
            numbers = {word: number for number, word in words(_enum(fd)).items()}
            repeated = fd.is_repeated

            def read_enum(value: Json) -> Json:
                number = numbers.get(values.read_string(value))
                return OTHER if number is None and repeated else number

            return read_enum
        if fd.type == _F.TYPE_MESSAGE:
            if form(fd) == options_pb2.WIRE_FORM_JSON_TEXT:
                return values.read_json_text
            well_known = _WELL_KNOWN.get(_type_name(fd))
            return well_known[0] if well_known else self.plan(_message(fd)).read_part
        return _SCALAR[fd.type]

    def writer(self, fd: FieldDescriptor) -> Callable[[Json], Json]:
        if is_map(fd):
            single = self._single_writer(_message(fd).fields_by_name["value"])
            return lambda items: {key: single(item) for key, item in items.items()}
        single = self._single_writer(fd)
        if not fd.is_repeated:
            return single
        if form(fd) == options_pb2.WIRE_FORM_COMMA_SEPARATED:
            return values.write_separated
        return lambda items: [_at(index, single, item) for index, item in enumerate(items)]

    def _single_writer(self, fd: FieldDescriptor) -> Callable[[Json], Json]:
        if is_null(fd):
            return lambda _value: None
        if fd.type == _F.TYPE_ENUM:
            return _word_of(words(_enum(fd)))
        if fd.type == _F.TYPE_MESSAGE:
            if form(fd) == options_pb2.WIRE_FORM_UNIX_SECONDS:
                return values.write_unix_seconds
            well_known = _WELL_KNOWN.get(_type_name(fd))
            return well_known[1] if well_known else self.plan(_message(fd)).write
        if fd.type in _REAL:
            return values.write_real
        return values.write_text if form(fd) == options_pb2.WIRE_FORM_TEXT else values.same


def _keys(descriptor: Descriptor, meaning: int) -> tuple[str, ...]:
    return tuple(json_key(fd) for fd in descriptor.fields if empty(fd) == meaning)


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
    return fd.type == _F.TYPE_MESSAGE and _type_name(fd) not in _WELL_KNOWN


@cache
def required(fd: FieldDescriptor) -> int:
    """The field's Required."""
    return int(fd.GetOptions().Extensions[options_pb2.required])


def _required(descriptor: Descriptor, how: int) -> tuple[str, ...]:
    return tuple(fd.name for fd in descriptor.fields if required(fd) == how)


@cache
def rows_field(response: Descriptor) -> str:
    """Name of the field that holds the rows of a list's response."""
    return next(fd.name for fd in response.fields if fd.is_repeated and fd.message_type)


def is_null(fd: FieldDescriptor) -> bool:
    return fd.enum_type is not None and fd.enum_type.full_name == "google.protobuf.NullValue"


def _message(fd: FieldDescriptor) -> Descriptor:
    assert fd.message_type is not None
    return fd.message_type


def _enum(fd: FieldDescriptor) -> EnumDescriptor:
    assert fd.enum_type is not None
    return fd.enum_type


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
