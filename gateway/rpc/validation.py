"""The request as bytes to a message that keeps the rules declared in the proto, or an error that names every broken field."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, cast

import protovalidate
from cbrgateway.v1 import errors_pb2
from google.protobuf.message import DecodeError, Message

from gateway.errors import GatewayError, Violation, field_invalid
from gateway.rpc.list_sizes import oversized
from gateway.rpc.status import MAX_VIOLATIONS
from gateway.upstream.declaration import Binding
from gateway.upstream.reference import load_comments

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor


@cache
def _validator() -> protovalidate.Validator:
    return protovalidate.Validator()


def parse(binding: Binding, data: bytes) -> Message:
    """The request message. Raises FIELD_INVALID."""
    name = binding.descriptor.input_type.name
    try:
        request = binding.request_type.FromString(data)
    except DecodeError:
        raise field_invalid("", f"the bytes are not a {name}; check that client and gateway use the same proto", "encoding") from None
    size = request.ByteSize()
    request.DiscardUnknownFields()
    if request.ByteSize() != size:
        # A newer client asks for something that this gateway would silently leave out.
        raise field_invalid(
            "", f"{name} holds a field that this version of the gateway does not know; remove it, or update the gateway", "unknown_field"
        )
    if too_long := oversized(request):
        raise _broken([too_long], 1)
    if violations := _validator().collect_violations(request):
        raise _broken([_violation(binding, v) for v in violations[:MAX_VIOLATIONS]], len(violations))
    return request


@cache
def _comments() -> Mapping[str, str]:
    return load_comments()


def _violation(binding: Binding, found: protovalidate.Violation) -> Violation:
    proto = found.proto
    elements = proto.field.elements if proto.field else ()
    path = "".join(_element(e, first=i == 0) for i, e in enumerate(elements))
    description = proto.message
    if proto.rule_id == "string.pattern" and (comment := _comments().get(_full_name(binding, [e.field_name or "" for e in elements]))):
        # A regular expression helps nobody; the field's own comment says in words what it may hold.
        description = f"is not valid. {comment}"
    return Violation(path, description, proto.rule_id)


def _full_name(binding: Binding, names: Sequence[str]) -> str:
    """Full name of the field that a path of field names leads to."""
    message = binding.descriptor.input_type
    for name in names[:-1]:
        message = cast("Descriptor", message.fields_by_name[name].message_type)
    return f"{message.full_name}.{names[-1]}"


def _element(element: protovalidate.FieldPathElementPb, *, first: bool) -> str:
    name = element.field_name if first else f".{element.field_name}"
    subscript = element.subscript
    return f"{name}[{subscript.value}]" if subscript is not None and subscript.value is not None else name


def _broken(violations: list[Violation], found: int) -> GatewayError:
    """The error of the first violations; `found` is the number of all."""
    first = violations[0]
    more = f" (and {found - 1} more)" if found > 1 else ""
    text = f"{first.subject}: {first.description}" if first.subject else first.description
    return GatewayError(errors_pb2.ERROR_REASON_FIELD_INVALID, text + more, violations=violations)
