"""Messages as JSON Schema 2020-12: the form that protobuf's mapping to JSON gives them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from buf.validate import validate_pb2
from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import FieldDescriptor

from gateway.upstream.reference import allowed_values, message_rules

Schema = dict[str, Any]

_SCALARS: Final[Mapping[int, Schema]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.TYPE_UINT32: {"type": "integer", "minimum": 0},
    FieldDescriptor.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"},
    FieldDescriptor.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
}
_WELL_KNOWN: Final[Mapping[str, Schema]] = {
    "google.protobuf.Any": {
        "type": "object",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    },
    "google.protobuf.BoolValue": {"type": "boolean"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Int32Value": {"type": "integer", "format": "int32"},
    "google.protobuf.StringValue": {"type": "string"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Value": {},
}


class Schemas:
    """All that were asked for, and what they refer to, by name."""

    def __init__(self, comments: Mapping[str, str]) -> None:
        self._comments = comments
        self.known: dict[str, Schema] = {}

    def reference(self, message: Any) -> Schema:  # noqa: ANN401 - a descriptor, which has two types
        """Of a message's descriptor."""
        full_name = str(message.full_name)
        if full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[full_name])
        name = full_name.removeprefix(f"{options_pb2.DESCRIPTOR.package}.")
        if name not in self.known:
            # Known before its fields are looked at, since messages may hold each other.
            self.known[name] = {}
            self.known[name] = self._object(message)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, message: Any) -> Schema:  # noqa: ANN401 - as above
        schema: Schema = {"type": "object"}
        text = [self._comments.get(message.full_name, ""), *message_rules(message)]
        if described := " ".join(filter(None, text)):
            schema["description"] = described
        if message.fields:
            schema["properties"] = {fd.json_name: self._property(fd) for fd in message.fields}
        if wanted := [fd.json_name for fd in message.fields if _rules(fd).required]:
            schema["required"] = wanted
        if message.name.endswith("Request"):
            schema["additionalProperties"] = False
        return schema

    def _property(self, fd: FieldDescriptor) -> Schema:
        inner: Any = fd.message_type
        if inner is not None and inner.GetOptions().map_entry:
            value = self._one(inner.fields_by_name["value"])
            schema: Schema = {"type": "object", "additionalProperties": value}
        elif fd.is_repeated:
            schema = {"type": "array", "items": self._one(fd), **dict(_items(_rules(fd)))}
        else:
            schema = self._one(fd) | dict(_bounds(_rules(fd)))
        options = fd.GetOptions()
        text = [self._comments.get(fd.full_name, "")]
        text += ["Secret."] if options.Extensions[options_pb2.secret] else []
        return schema | ({"description": " ".join(text)} if any(text) else {})

    def _one(self, fd: FieldDescriptor) -> Schema:
        if fd.message_type is not None:
            return self.reference(fd.message_type)
        if fd.enum_type is None:
            return dict(_SCALARS[fd.type])
        # Of a field that a request has: what it may be set to. Answers may have values to come.
        names = allowed_values(fd) if _rules(fd).HasField("enum") else ()
        every = tuple(value.name for value in fd.enum_type.values)
        return {"type": "string", "enum": list(names or every)}


def _rules(fd: FieldDescriptor) -> validate_pb2.FieldRules:
    """Those that a request must keep; none of those that are only warned of."""
    options = fd.GetOptions()
    if options.Extensions[options_pb2.unsure]:
        return validate_pb2.FieldRules()
    rules: validate_pb2.FieldRules = options.Extensions[validate_pb2.field]
    return rules


def _bounds(rules: validate_pb2.FieldRules) -> Iterator[tuple[str, object]]:
    if rules.string.min_len:
        yield "minLength", rules.string.min_len
    if rules.string.max_len:
        yield "maxLength", rules.string.max_len
    if rules.int32.HasField("gte"):
        yield "minimum", rules.int32.gte
    if rules.int32.HasField("lte"):
        yield "maximum", rules.int32.lte


def _items(rules: validate_pb2.FieldRules) -> Iterator[tuple[str, object]]:
    if rules.repeated.min_items:
        yield "minItems", rules.repeated.min_items
    if rules.repeated.HasField("max_items"):
        yield "maxItems", rules.repeated.max_items
