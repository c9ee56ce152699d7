"""What the protos say about an RPC in words: the comments, types and rules behind
`cbr-gateway explain`.

The generated modules hold no comments, so these come from the descriptor set that is shipped beside
the package.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from buf.validate import validate_pb2
from cbrgateway.v1 import errors_pb2, options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message
from msgspec import Struct

from gateway.reasons import REASONS, reason_name
from gateway.upstream import wire
from gateway.upstream.declaration import IN_BODY, Binding

_PACKAGE: Final = errors_pb2.DESCRIPTOR.package
_SET: Final = "cbrgateway.binpb"
_MAX_NESTING: Final = 6
_NAMED: Final = frozenset(
    {"message_type", "enum_type", "service", "nested_type", "field", "method", "value"}
)
_PAGING: Final[Mapping[int, tuple[str, str]]] = {
    options_pb2.PAGING_OFFSET: ("query limit", "query offset"),
    options_pb2.PAGING_MARKER: ("query limit", "query offset, marker"),
    options_pb2.PAGING_OFFSET_IN_BODY: ("body limit", "body offset"),
}
_NOT_SENT: Final = "not sent"
_MADE: Final = "made here"
_OF_THIS: Final = re.compile(r"\bthis\.([a-z0-9_]+(?:\.[a-z0-9_]+)*)")
_WORD: Final = re.compile(r"[A-Z][A-Z_]{3,}")


class FieldReference(Struct, frozen=True):
    """One field of a request or answer.

    `depth`: how many messages it is inside of. `place`: where it goes, or comes from, on the wire.
    """

    name: str
    depth: int
    type: str
    place: str
    rules: tuple[str, ...]
    """What a request must keep, and forms on the wire. In an answer the forms alone."""
    comment: str
    values: tuple[str, ...]
    """Of an enum: those that a request may hold."""


class ErrorReference(Struct, frozen=True):
    """A reason that the RPC's comment names, its gRPC code and its own comment."""

    reason: str
    code: int
    comment: str


@cache
def descriptor_set() -> bytes:
    """The one with comments: the installed one or, in a checkout, the generated one."""
    installed = resources.files("gateway").joinpath(_SET)
    if installed.is_file():
        return installed.read_bytes()
    return (Path(__file__).parents[2] / "generated" / _SET).read_bytes()


def load_comments() -> Mapping[str, str]:
    """Comments by full name, such as `cbrgateway.v1.Vault.name`."""
    return {
        name: text
        for file in FileDescriptorSet.FromString(descriptor_set()).file
        if file.package == _PACKAGE
        for name, text in _comments(file)
    }


def _comments(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        if location.leading_comments and (name := _name(file, location.path)):
            yield name, " ".join(location.leading_comments.split())


def _name(file: FileDescriptorProto, path: Sequence[int]) -> str:
    """The full name that a location's path leads to; empty for parts without one, such as options.

    The path alternates between a field number of a descriptor proto and an index into that field.
    """
    node: Any = file
    names = [file.package]
    for number, index in zip(path[::2], path[1::2], strict=False):
        part = node.DESCRIPTOR.fields_by_number[number].name
        if part not in _NAMED:
            return ""
        node = getattr(node, part)[index]
        names.append(node.name)
    return ".".join(names) if len(path) % 2 == 0 else ""


def request_fields(binding: Binding, comments: Mapping[str, str]) -> Iterator[FieldReference]:
    """The request's fields, each followed by those inside it."""
    size, token = _PAGING.get(binding.paging, (_NOT_SENT, _NOT_SENT))
    places = {"page_size": size, "page_token": token}
    places |= {segment.variable: f"path {{{segment.key}}}" for segment in binding.segments}
    in_body = "body" if binding.method in IN_BODY else "query"
    kind = in_body if binding.operation else _NOT_SENT
    yield from _fields(binding.descriptor.input_type, comments, places, kind, 0)


def response_fields(binding: Binding, comments: Mapping[str, str]) -> Iterator[FieldReference]:
    """The answer's fields, each followed by those inside it."""
    kind = "answer" if binding.operation else _MADE
    yield from _fields(binding.descriptor.output_type, comments, {}, kind, 0)


def _fields(
    descriptor: Descriptor,
    comments: Mapping[str, str],
    places: Mapping[str, str],
    prefix: str,
    depth: int,
) -> Iterator[FieldReference]:
    answered = prefix.startswith(("answer", _MADE))
    for fd in descriptor.fields:
        place = places.get(fd.name) or _place(fd, prefix, depth, answered=answered)
        rules = tuple(_forms(fd)) if answered else (*_rules(fd), *_forms(fd))
        yield FieldReference(
            fd.name,
            depth,
            _type(fd),
            place,
            rules,
            comments.get(fd.full_name, ""),
            allowed_values(fd),
        )
        inside = fd.message_type
        if (
            inside is not None
            and inside.file.package == descriptor.file.package
            and not wire.is_map(fd)
            and depth < _MAX_NESTING
        ):
            yield from _fields(inside, comments, {}, place, depth + 1)


def _place(fd: FieldDescriptor, prefix: str, depth: int, *, answered: bool) -> str:
    """Where a field goes to, or comes from, that nothing else tells of. `prefix`: of what holds
    it.
    """
    if prefix in {_NOT_SENT, _MADE}:
        return prefix
    if fd.name == wire.EXTRA:
        return "keys without a field"
    if fd.name in wire.GATEWAY_FIELDS:
        return _MADE if answered else _NOT_SENT
    return f"{prefix}{'.' if depth else ' '}{wire.json_key(fd)}"


_SCALARS: Final = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_DOUBLE: "double",
}


def _type(fd: FieldDescriptor) -> str:
    if wire.is_map(fd):
        return "map"
    name = _SCALARS.get(fd.type, "")
    if fd.enum_type is not None:
        name = f"enum {fd.enum_type.name}"
    elif fd.message_type is not None:
        name = str(fd.message_type.name)
    return f"list of {name}" if fd.is_repeated else name


def allowed_values(fd: FieldDescriptor) -> tuple[str, ...]:
    """Names of the values that an enum's field may be set to; none for another field."""
    if fd.enum_type is None:
        return ()
    rules = fd.GetOptions().Extensions[validate_pb2.field]
    rule = rules.repeated.items.enum if fd.is_repeated else rules.enum
    allowed = (
        {rule.const}
        if rule.HasField("const")
        else {value.number for value in fd.enum_type.values} - {0, *rule.not_in}
    )
    return tuple(value.name for value in fd.enum_type.values if value.number in allowed)


def _rules(fd: FieldDescriptor) -> Iterator[str]:
    options = fd.GetOptions()
    if options.HasExtension(validate_pb2.field):
        # What is said about enums (no unknown value, no OTHER) holds for every one; `values` shows
        # it.
        rules, unsure = options.Extensions[validate_pb2.field], unsure_rules(fd, None)
        for rule in _leaves(rules, ""):
            if not rule.startswith(("enum.", "cel:")):
                yield _marked(rule, unsure=rule.partition(":")[0] in unsure)
        yield from (_marked(rule.message, unsure=rule.id in unsure) for rule in rules.cel)
    if fd.message_type is not None:
        yield from message_rules(fd.message_type)


def message_rules(descriptor: Descriptor) -> Iterator[str]:
    """What the fields of a message must keep together, in the words of its rules."""
    options = descriptor.GetOptions()
    if options.HasExtension(validate_pb2.message):
        unsure = unsure_rules(None, descriptor)
        yield from (
            _marked(rule.message, unsure=rule.id in unsure)
            for rule in options.Extensions[validate_pb2.message].cel
        )


def unsure_rules(fd: FieldDescriptor | None, message: Descriptor | None) -> Sequence[str]:
    """Ids of the rules of a field and of a message for which there is no sure evidence."""
    return (
        *(fd.GetOptions().Extensions[options_pb2.unsure] if fd is not None else ()),
        *(message.GetOptions().Extensions[options_pb2.unsure_rules] if message is not None else ()),
    )


def _marked(rule: str, *, unsure: bool) -> str:
    return f"{rule} (not sure: warned of, not refused)" if unsure else rule


def fields_together(descriptor: Descriptor, rule_id: str) -> tuple[str, ...]:
    """The fields that a rule of a message is about, as paths from the message, in the rule's order;
    none where it has no such rule.
    """
    options = descriptor.GetOptions()
    rules = (
        options.Extensions[validate_pb2.message].cel
        if options.HasExtension(validate_pb2.message)
        else ()
    )
    ways = [
        way.group(1)
        for rule in rules
        if rule.id == rule_id
        for way in _OF_THIS.finditer(rule.expression)
    ]
    # `has(this.bind_rules) && size(this.bind_rules.tags) > 0` is about the tags.
    return tuple(
        dict.fromkeys(way for way in ways if not any(other.startswith(f"{way}.") for other in ways))
    )


_EMPTY: Final[Mapping[int, str]] = {
    options_pb2.EMPTY_SENT: "sent even when empty",
    options_pb2.EMPTY_CLEARS: "empty: takes away what is there",
    options_pb2.EMPTY_REPLACED: (
        "replaced as a whole by CBR; read first, so that what is not set stays"
    ),
}


def _forms(fd: FieldDescriptor) -> Iterator[str]:
    options = fd.GetOptions()
    if form := wire.form(fd):
        yield options_pb2.WireForm.Name(form).removeprefix("WIRE_FORM_").lower().replace("_", " ")  # type: ignore[arg-type]
    if meaning := _EMPTY.get(wire.empty(fd)):
        yield meaning
    if options.Extensions[options_pb2.secret]:
        yield "secret"


def _leaves(message: Message, prefix: str) -> Iterator[str]:
    for fd, value in message.ListFields():
        name = f"{prefix}{fd.name}"
        if fd.message_type is not None and not fd.is_repeated:
            yield from _leaves(value, f"{name}.")
        elif fd.message_type is not None:
            yield from (
                f"{name}: {getattr(item, 'message', '') or getattr(item, 'expression', '')}"
                for item in value
            )
        elif value is True:
            yield name
        else:
            yield f"{name}: {list(value) if fd.is_repeated else value}"


def errors_named(comment: str, comments: Mapping[str, str]) -> Iterator[ErrorReference]:
    """The error reasons that a comment names, in its order."""
    by_name = {reason_name(reason): (reason, declared.code) for reason, declared in REASONS.items()}
    for word in dict.fromkeys(_WORD.findall(comment)):
        if word in by_name:
            reason, code = by_name[word]
            enum = errors_pb2.ErrorReason.DESCRIPTOR.full_name
            yield ErrorReference(
                word, code, comments.get(f"{enum}.{errors_pb2.ErrorReason.Name(reason)}", "")
            )
