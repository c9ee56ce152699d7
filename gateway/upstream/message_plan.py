"""How one message type is read from CBR's JSON and written to it: a table that is made once.

JSON key -> field name and converter (reading), field number -> JSON key and converter (writing).

Reading is tolerant, since CBR's answers drift from their description: a member that cannot be read
costs itself and nothing else. It is left unset, reported, and kept in `extra_fields`, as is a key
without a field: in that of its message or, where this has none, in that of the message which holds
it, below the same keys (of an array: null in the place of each item of which nothing is left). Only
what is declared `required` makes the message that misses it unreadable, which is then a member or a
row that cannot be read, or, at the top, a ProtocolError. Null means "not set".
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from msgspec import Struct

from gateway.upstream import values, wire
from gateway.upstream.tolerant_json import Damaged, is_damaged
from gateway.upstream.values import Json, NotEncodableError, ProtocolError
from gateway.upstream.wire import ECHOES, EXTRA, OTHER, UNREADABLE_ROWS

if TYPE_CHECKING:
    from gateway.upstream.codec import Codecs

_MAX_REPORTED: Final = 20
"""Unknown members reported of one object; one answer may hold half a million."""
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
            if not wire.is_null(fd):
                reader = self._codecs.reader(fd, wire.raw_sibling(self._descriptor, fd))
                found |= dict.fromkeys(wire.read_keys(fd), reader)
        return found

    @cached_property
    def writers(self) -> dict[int, Writer]:
        """By the field's number."""
        return {
            fd.number: Writer(
                wire.json_key(fd), self._codecs.writer(fd), wire.raw_sibling(self._descriptor, fd)
            )
            for fd in self._fields
            if not wire.answer_only(fd)
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
        return next((fd.name for fd in self._fields if wire.form(fd) == whole), "")

    @cached_property
    def rows(self) -> str:
        """The field of a list's rows, where what cannot be read of them is counted."""
        counted = UNREADABLE_ROWS in self._descriptor.fields_by_name
        return wire.rows_field(self._descriptor) if counted else ""

    @cached_property
    def required(self) -> tuple[str, ...]:
        return _required(self._descriptor, options_pb2.REQUIRED_ALWAYS)

    @cached_property
    def required_one_of(self) -> tuple[str, ...]:
        return _required(self._descriptor, options_pb2.REQUIRED_ONE_OF)

    @property
    def _fields(self) -> Iterator[FieldDescriptor]:
        for fd in self._descriptor.fields:
            if fd.name not in wire.GATEWAY_FIELDS and not wire.is_raw(self._descriptor, fd):
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


def _keys(descriptor: Descriptor, meaning: int) -> tuple[str, ...]:
    return tuple(wire.json_key(fd) for fd in descriptor.fields if wire.empty(fd) == meaning)


def _required(descriptor: Descriptor, how: int) -> tuple[str, ...]:
    return tuple(fd.name for fd in descriptor.fields if wire.required(fd) == how)
