"""Hypothesis strategies that build messages of any type from its descriptor."""

from datetime import date
from functools import cache

from cbrgateway.v1 import options_pb2
from google.protobuf import struct_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.type import date_pb2
from hypothesis import strategies as st

from gateway.upstream import wire
from gateway.upstream.rules import reachable

FIRST_SECOND, LAST_SECOND = -62135596800, 253402300799
ONE_WAY = frozenset(
    {
        options_pb2.WIRE_FORM_COMMA_SEPARATED,
        options_pb2.WIRE_FORM_JSON_TEXT,
        options_pb2.WIRE_FORM_WHOLE_BODY,
    },
)
"""Forms that the codec writes or reads only."""

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
# Plus zero, because JSON readers do not keep the sign of a zero.
reals = st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
json_values = st.recursive(
    st.none() | st.booleans() | reals | st.integers(-(2**53), 2**53) | text,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(text, inside, max_size=3),
    max_leaves=5,
)


def as_struct(value):
    struct = struct_pb2.Struct()
    struct.update(value)
    return struct


def as_date(day: date) -> date_pb2.Date:
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)


WELL_KNOWN = {
    "google.protobuf.Timestamp": (
        # Where CBR counts seconds, a number of twelve digits is one of milliseconds.
        st.integers(FIRST_SECOND, min(LAST_SECOND, 10**11 - 1)).map(
            lambda seconds: timestamp_pb2.Timestamp(seconds=seconds)
        )
    ),
    "google.protobuf.Struct": st.dictionaries(text, json_values, max_size=3).map(as_struct),
    "google.protobuf.Value": json_values.map(lambda value: as_struct({"": value}).fields[""]),
    "google.type.Date": st.dates().map(as_date),
}
HOSTILE_WELL_KNOWN = WELL_KNOWN | {
    "google.protobuf.Timestamp": st.builds(
        timestamp_pb2.Timestamp,
        seconds=st.integers(-(2**63), 2**63 - 1),
        nanos=st.integers(-(2**31), 2**31 - 1),
    ),
    "google.type.Date": st.builds(
        date_pb2.Date, **dict.fromkeys(("year", "month", "day"), st.integers(-(2**31), 2**31 - 1))
    ),
}
NUMBERS = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
}


@cache
def messages(descriptor, *, hostile=False, depth=3):
    """Messages of the type.

    Plain ones hold what the codec must carry in both directions; hostile ones whatever a caller can
    put into protobuf.
    """
    skipped = (
        set()
        if hostile
        else {
            f.name
            for f in descriptor.fields
            if f.name in wire.GATEWAY_FIELDS or wire.form(f) in ONE_WAY
        }
    )
    parts = {}
    for fd in descriptor.fields:
        deep = fd.message_type is not None and not fd.message_type.full_name.startswith("google.")
        if fd.name not in skipped and not wire.is_raw(descriptor, fd) and not (deep and depth == 0):
            parts[fd.name] = st.none() | _field(descriptor, fd, hostile, depth)
    return st.fixed_dictionaries(parts).map(lambda found: _assemble(descriptor, found))


def _assemble(descriptor, found):
    arguments = {}
    taken = set()
    for name, value in found.items():
        oneof = descriptor.fields_by_name[name].containing_oneof
        if value is None or (oneof is not None and oneof.name in taken):
            continue
        if oneof is not None:
            taken.add(oneof.name)
        arguments |= value
    return GetMessageClass(descriptor)(**arguments)


def _field(descriptor, fd, hostile, depth):
    """Constructor arguments: the field, and with an unknown word its raw sibling."""
    raw = wire.raw_sibling(descriptor, fd)
    single = _single(fd, hostile, depth)
    known = (st.lists(single, max_size=3) if fd.is_repeated else single).map(
        lambda value: {fd.name: value}
    )
    if not raw:
        return known
    words = set(wire.words(fd.enum_type).values())
    unknown = text.filter(lambda word: word and word not in words)
    return known | unknown.map(lambda word: {fd.name: wire.OTHER, raw: word})


def _single(fd, hostile, depth):
    if fd.type == fd.TYPE_STRING:
        return (
            text | st.sampled_from(["a,b", "..", "a/b", "\x00", "a\r\nb: c", "%2e%2e", "?#;"])
            if hostile
            else text
        )
    if fd.type == fd.TYPE_BOOL:
        return st.booleans()
    if fd.type == fd.TYPE_ENUM:
        known = sorted(wire.words(fd.enum_type)) or [0]
        return (
            st.sampled_from(known) | st.integers(-(2**31), 2**31 - 1)
            if hostile
            else st.sampled_from(known)
        )
    if fd.type == fd.TYPE_DOUBLE:
        return st.floats(allow_nan=hostile, allow_infinity=hostile)
    if fd.type in NUMBERS:
        return NUMBERS[fd.type]
    well_known = HOSTILE_WELL_KNOWN if hostile else WELL_KNOWN
    name = fd.message_type.full_name
    return (
        well_known[name]
        if name in well_known
        else messages(fd.message_type, hostile=hostile, depth=depth - 1)
    )


def types_below(roots):
    """Every message type of ours inside the roots, each once, by name."""
    return sorted(
        {found.full_name: found for root in roots for found in reachable(root)}.values(),
        key=lambda found: found.full_name,
    )
