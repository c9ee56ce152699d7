"""Struct types for the objects in answers, derived from the descriptors of their messages and from
what answers were seen to hold.
"""

import enum
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Self, cast

import msgspec
from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from msgspec import field

from gateway.upstream import codec, values, wire
from gateway.upstream.codec import Codecs
from gateway.upstream.message_plan import MessagePlan
from gateway.upstream.tolerant_json import Damaged
from gateway.upstream.typed_fill import Fill, Part, Rest, filler
from gateway.upstream.values import Json, ProtocolError
from gateway.upstream.wire import ECHOES

_F: Final = FieldDescriptor
_MAX_UNKNOWN: Final = 32
"""Members without a field that are learnt of one message."""
_MAX_KEY: Final = 64
_REAL: Final = Annotated[float, msgspec.Meta(ge=-values.LARGEST, le=values.LARGEST)]
_SCALAR: Final[Mapping[int, Any]] = {
    _F.TYPE_STRING: str,
    _F.TYPE_BOOL: bool,
    _F.TYPE_INT32: Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)],
    _F.TYPE_INT64: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    _F.TYPE_DOUBLE: _REAL,
    _F.TYPE_FLOAT: _REAL,
}


class Member(msgspec.Struct):
    """A field that a struct can have as such. `type`: of one value; none of a message's."""

    name: str
    many: bool
    required: bool
    type: Any = None
    time: bool = False
    inside: "Shape | None" = None

    def fits(self, item: Json) -> bool:
        """Whether it takes a member of an answer. Learns from it."""
        if item is None:
            return not self.many or not self.required
        if self.many and type(item) is not list:
            return False
        items = item if self.many else [item]
        return False not in [self._fits(each) for each in items if type(each) is not Damaged]

    def _fits(self, item: Json) -> bool:
        if self.inside is not None:
            if type(item) is dict:
                self.inside.learn(item)
            return type(item) is dict and not self.inside.closed
        try:
            msgspec.convert(item, self.type)
            if self.time:
                values.read_timestamp(item)
        except (msgspec.ValidationError, ProtocolError):
            return False
        return True

    def annotation(self, inside: Any) -> Any:  # noqa: ANN401 - a type
        """The type of the struct's field. `inside`: that of the structs in it."""
        one = self.type if inside is None else inside
        if self.required and one is str and not self.many:
            return Annotated[str, msgspec.Meta(min_length=1)]
        known = list[one] if self.many else one  # type: ignore[valid-type]
        return known if self.required else known | None


class Shape(msgspec.Struct):
    """What is known of the answers' objects of one message. `closed`: they are left to the plan."""

    plan: MessagePlan
    members: dict[str, Member]
    top: bool
    closed: bool
    seen: set[str] = field(default_factory=set)
    """Keys of members that fit."""
    loose: dict[str, None] = field(default_factory=dict)
    """Keys of those that the plan reads."""
    unknown: dict[str, None] = field(default_factory=dict)
    """Keys without a field."""

    def learn(self, value: dict[str, Json]) -> None:
        """From an answer's object. What is damaged says nothing of the answers to come."""
        for key, item in value.items():
            known = self.members.get(key)
            if known is not None and key not in self.loose:
                self._learn_member(key, known, item)
            elif known is None and key not in self.unknown and key not in self.loose:
                self._learn_other(key, item)

    def _learn_member(self, key: str, known: Member, item: Json) -> None:
        if type(item) is Damaged:
            return
        if known.fits(item):
            self.seen.add(key)
        elif self.top and known.inside is not None:
            # An object or a row that cannot be read says nothing of the others.
            self.seen.add(key)
            self.closed = self.closed or known.inside.closed
        else:
            self.loose[key] = None

    def _learn_other(self, key: str, item: Json) -> None:
        if (reader := self.plan.readers.get(key)) is not None:
            if type(item) is Damaged:
                return
            # Of two keys for one field the later one counts, which the struct does not tell.
            others = (self.plan.readers[other].name for other in self.loose)
            fields = {*(member.name for member in self.members.values()), *others}
            self.closed = self.closed or reader.name in fields
            self.loose[key] = None
            return
        kept = key in ECHOES if self.top else self.plan.keeps_extra
        plain = key.isascii() and key.isprintable() and not {'"', "\\"} & set(key)
        if kept and plain and len(key) <= _MAX_KEY and len(self.unknown) < _MAX_UNKNOWN:
            self.unknown[key] = None
        else:
            self.closed = True

    def compiled(self) -> tuple[type[msgspec.Struct], Fill]:
        """The struct type, and what makes constructor arguments of several."""
        fields: list[tuple[str, Any, Any]] = []
        keys: dict[str, str] = {}
        parts: list[Part] = []
        times: list[str] = []
        for key, member in self.members.items():
            if key in self.loose or not (member.required or key in self.seen):
                continue
            keys[member.name], inside = key, None
            if member.inside is not None:
                inside, fill = member.inside.compiled()
                parts.append((member.name, member.many, fill))
            elif member.time:
                times.append(member.name)
            default = msgspec.NODEFAULT if member.required else None
            fields.append((member.name, member.annotation(inside), default))
        rest = {f"_{number}": key for number, key in enumerate((*self.loose, *self.unknown))}
        made = msgspec.defstruct(
            self.plan.full_name.rpartition(".")[2],
            [*fields, *((name, Any, msgspec.UNSET) for name in rest)],
            rename=keys | rest,
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
        return made, filler(parts, times, Rest(self.plan, rest, self.top) if rest else None)

    def known(self) -> int:
        """How much was learnt."""
        inside = (m.inside.known() for m in self.members.values() if m.inside is not None)
        return len(self.seen) + len(self.loose) + len(self.unknown) + self.closed + sum(inside)


def shape_of(
    descriptor: Descriptor, codecs: Codecs, around: tuple[str, ...] = (), *, top: bool
) -> Shape:
    """A shape that has learnt nothing yet. `around`: the messages that hold this one."""
    plan = codecs.plan(descriptor)
    members = {}
    for fd in descriptor.fields:
        if fd.name in wire.GATEWAY_FIELDS or wire.is_raw(descriptor, fd):
            continue
        member = _member(fd, codecs, (*around, descriptor.full_name))
        if member is not None:
            members[wire.json_key(fd)] = member
    # Which of several fields is there, the reader of a whole answer looks at (typed.py).
    closed = bool(plan.whole_body or (plan.required_one_of and not top))
    return Shape(plan, members, top, closed)


def _member(fd: FieldDescriptor, codecs: Codecs, around: tuple[str, ...]) -> Member | None:
    """None: its values have another form than their type alone tells."""
    if wire.form(fd) or wire.is_map(fd):
        return None
    made = Member(fd.name, fd.is_repeated, wire.required(fd) == options_pb2.REQUIRED_ALWAYS)
    message = fd.message_type
    if fd.enum_type is not None:
        made.type = None if wire.is_null(fd) else _words(fd.enum_type)
    elif message is None:
        made.type = _SCALAR.get(fd.type)
    elif message.full_name == "google.protobuf.Timestamp" and not fd.is_repeated:
        made.type, made.time = str, True
    elif codec.is_planned(fd) and message.full_name not in around:
        made.inside = shape_of(message, codecs, around, top=False)
    usable = made.type if made.inside is None else not made.inside.closed
    return made if usable else None


class _Word(str, enum.Enum):  # noqa: UP042 - the text is not the value
    """Decoded by its value, a word of CBR's; its text is the name that protobuf has for it."""

    def __new__(cls, word: str, name: str) -> Self:
        made = str.__new__(cls, name)
        made._value_ = word
        return made


@cache
def _words(known: EnumDescriptor) -> type[_Word]:
    names = {
        word: known.values_by_number[number].name for number, word in wire.words(known).items()
    }
    make = cast("Any", _Word)
    return cast(
        "type[_Word]", make(known.name, {name: (word, name) for word, name in names.items()})
    )
