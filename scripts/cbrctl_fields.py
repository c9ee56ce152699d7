"""The arguments and flags of a command of `cbrctl`: from the fields of a request."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from buf.validate import validate_pb2
from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from cbrctl.values import told, words
from gateway.upstream import wire
from gateway.upstream.reference import allowed_values

RESERVED: Final = frozenset(
    (
        *("address", "api-key-file", "ca-file", "certificate-file", "context", "key-file"),
        *("all-projects", "plaintext", "project", "tls"),
        *("deadline", "dry-run", "file", "help", "limit", "output", "query", "wait", "yes"),
    )
)
"""Options that every command has: no field may take their names."""
_NOT_ASKED: Final = frozenset({"page_size", "page_token", "validate_only"})
"""Fields that commands fill by themselves, or by an option of their own."""
_KINDS: Final = {
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int",
    FieldDescriptor.TYPE_INT64: "int",
    FieldDescriptor.TYPE_DOUBLE: "number",
    FieldDescriptor.TYPE_STRING: "text",
    FieldDescriptor.TYPE_ENUM: "enum",
}
_WELL_KNOWN: Final = {
    "google.protobuf.Timestamp": "time",
    "google.protobuf.Duration": "duration",
    "google.protobuf.FieldMask": "mask",
    "google.type.Date": "date",
}


def kebab(name: str) -> str:
    """`ListVaultTags`, `vault_id` -> `list-vault-tags`, `vault-id`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).replace("_", "-").lower()


def first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0].removesuffix(".")


def in_package(message: Descriptor) -> bool:
    return str(message.file.package) == str(options_pb2.DESCRIPTOR.package)


def type_name(field: FieldDescriptor) -> str:
    if wire.is_map(field):
        return "map"
    named = field.message_type if field.message_type is not None else field.enum_type
    if named is None:
        return {"text": "string"}.get(kind(field), kind(field))
    return str(named.name)


def kind(field: FieldDescriptor) -> str:
    """How its value is written at a terminal."""
    if field.message_type is None:
        return _KINDS[field.type]
    known = _WELL_KNOWN.get(str(field.message_type.full_name))
    return known or ("message" if in_package(field.message_type) else "json")


def required(field: FieldDescriptor) -> bool:
    options = field.GetOptions()
    if not options.HasExtension(validate_pb2.field):
        return False
    rules = options.Extensions[validate_pb2.field]
    never_empty = (rules.string.min_len or rules.int32.gte > 0) and not field.has_presence
    return bool(
        (rules.required or never_empty or rules.repeated.min_items)
        and not options.Extensions[options_pb2.unsure]
    )


def _described(
    field: FieldDescriptor, comments: Mapping[str, str], nouns: Mapping[str, str]
) -> dict[str, Any]:
    """What is the same of an argument and of a flag."""
    found: dict[str, Any] = {"kind": kind(field), "help": comments.get(str(field.full_name), "")}
    if field.is_repeated and not wire.is_map(field):
        found["many"] = True
    refers = options_pb2.Refers.Name(field.GetOptions().Extensions[options_pb2.refers])
    group = nouns.get(kebab(refers.removeprefix("REFERS_").removeprefix("DESTINATION_")))
    if group and refers != "REFERS_DESTINATION_VAULT":
        found["group"] = group
    if field.enum_type is not None:
        allowed = words(allowed_values(field), _prefix(field))
        found["choices"] = {each: allowed[each] for each in told(allowed)}
    return found


def known_texts(field: FieldDescriptor, comment: str) -> dict[str, str]:
    """Short words for the values that the comment of a text names, where all begin alike: the last
    part of each, or more of it where another has that already.
    """
    prefix = field.GetOptions().Extensions[validate_pb2.field].string.prefix
    found: dict[str, str] = {}
    for value in re.findall(f"`({prefix}[^`]+)`", comment) if prefix else ():
        parts = [kebab(part) for part in value.removeprefix(prefix).split("::")]
        shorter = ("-".join(parts[start:]) for start in range(len(parts) - 1, -1, -1))
        found[next(word for word in shorter if word not in found)] = value
    return found


def _prefix(field: FieldDescriptor) -> str:
    return str(field.enum_type.values[0].name).removesuffix("UNSPECIFIED")


def arguments(
    request: Descriptor, comments: Mapping[str, str], nouns: Mapping[str, str], *, read: bool
) -> list[dict[str, Any]]:
    """What is written without a flag: the ids and keys without which the request makes no sense."""
    return [
        {
            "field": field.name,
            "name": str(field.name).removesuffix("_id").upper(),
            **_described(field, comments, nouns),
        }
        for field in request.fields
        if not field.is_repeated
        and required(field)
        and (kind(field) == "text" or (read and kind(field) == "enum"))
    ]


def flags(
    request: Descriptor, comments: Mapping[str, str], nouns: Mapping[str, str], taken: set[str]
) -> list[dict[str, Any]]:
    """A flag for each other field.

    Of messages in the request one for each field inside, named by that field alone; where two have
    one name, the one further inside is named with the message that holds it; and what has the name
    of an option of every command, with `request`.
    """
    names = set(RESERVED)
    found = []
    leaves = sorted(_leaves(request, (), taken, needed=True), key=lambda leaf: len(leaf[0]))
    for path, field, needed in leaves:
        parts = [kebab(part) for part in path]
        longer = ("-".join(parts[start:]) for start in range(len(parts) - 1, -1, -1))
        own = next((name for name in longer if name not in names), f"request-{'-'.join(parts)}")
        names.add(own)
        flag = {"flag": own, "path": list(path), **_described(field, comments, nouns)}
        found.append(flag | ({"required": True} if needed else {}))
    # What must be given is read first.
    return sorted(found, key=lambda flag: ("required" not in flag, flag["path"] == ["request_id"]))


def _leaves(
    message: Descriptor, above: tuple[str, ...], taken: set[str], *, needed: bool
) -> Iterator[tuple[tuple[str, ...], FieldDescriptor, bool]]:
    for field in message.fields:
        options = field.GetOptions().Extensions
        if options[options_pb2.answer_only] or (not above and field.name in taken | _NOT_ASKED):
            continue
        path, asked = (*above, str(field.name)), needed and required(field)
        inside = field.message_type
        alone = field.containing_oneof is None or _optional(field)
        if inside is not None and in_package(inside) and not field.is_repeated and alone:
            yield from _leaves(inside, path, taken, needed=asked)
        else:
            yield path, field, asked


def _optional(field: FieldDescriptor) -> bool:
    """Whether its oneof is only how `optional` is written."""
    return str(field.containing_oneof.name) == f"_{field.name}"
