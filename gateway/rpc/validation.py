"""The request as bytes to a message that keeps the rules declared in the proto, or an error that
names every broken field.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, cast

import protovalidate
from cbrgateway.v1 import errors_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from gateway.errors import GatewayError, Violation, field_invalid
from gateway.rpc.list_sizes import oversized
from gateway.rpc.status import MAX_VIOLATIONS
from gateway.upstream.declaration import Binding
from gateway.upstream.reference import (
    allowed_values,
    descriptor_set,
    fields_together,
    load_comments,
    unsure_rules,
)

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

_UNSAID: Final = frozenset(
    {"required", "string.pattern", "string.prefix", "string.not_in", "int32.not_in"}
)
"""Rules whose own text does not say what is accepted: the field's comment does."""
_MAX_NAMES: Final = 10
"""How many of an enum's values an error names."""


@cache
def _validator() -> protovalidate.Validator:
    return protovalidate.Validator()


def parse(binding: Binding, data: bytes) -> Message:
    """The request message. Raises FIELD_INVALID."""
    name = binding.descriptor.input_type.name
    try:
        request = binding.request_type.FromString(data)
    except DecodeError:
        raise field_invalid(
            "",
            f"the bytes are not a {name}; check that client and gateway use the same proto",
            "encoding",
        ) from None
    size = request.ByteSize()
    request.DiscardUnknownFields()
    if request.ByteSize() != size:
        # A newer client asks for something that this gateway would silently leave out.
        raise field_invalid(
            "",
            f"{name} holds a field that this version of the gateway does not know; remove it, or"
            " update the gateway",
            "unknown_field",
        )
    if too_long := oversized(request):
        raise _broken([too_long], 1)
    if violations := [
        v for v in _validator().collect_violations(request) if not _unsure(binding, v)
    ]:
        raise _broken(
            [each for v in violations[:MAX_VIOLATIONS] for each in _violations(binding, v)],
            len(violations),
        )
    return request


def warnings(binding: Binding, request: Message) -> list[Violation]:
    """What a request breaks of the rules for which there is no sure evidence, which `parse` lets
    pass.
    """
    found = [v for v in _validator().collect_violations(request) if _unsure(binding, v)]
    return [each for v in found[:MAX_VIOLATIONS] for each in _violations(binding, v)]


def _unsure(binding: Binding, found: protovalidate.Violation) -> bool:
    elements = found.proto.field.elements if found.proto.field else ()
    fd = _field(binding, [e.field_name or "" for e in elements])
    return found.proto.rule_id in unsure_rules(
        fd, binding.descriptor.input_type if fd is None else fd.message_type
    )


@cache
def _comments() -> Mapping[str, str]:
    return load_comments()


def prepare() -> None:
    """Reads now the file that is needed at the first request that is wrong."""
    descriptor_set()


def _violations(binding: Binding, found: protovalidate.Violation) -> list[Violation]:
    """One for the field at fault; of a rule over several fields, one for each of them."""
    proto = found.proto
    elements = proto.field.elements if proto.field else ()
    path = "".join(_element(e, first=i == 0) for i, e in enumerate(elements))
    names = [e.field_name or "" for e in elements]
    fd = _field(binding, names)
    words = (
        _description(fd, proto.rule_id, proto.message) or _choice(binding, names) or proto.message
    )
    message = fd.message_type if fd is not None else binding.descriptor.input_type
    together = fields_together(message, proto.rule_id) if message is not None else ()
    paths = [f"{path}.{field}" if path else field for field in together] or [path]
    return [Violation(each, words, proto.rule_id) for each in paths]


def _field(binding: Binding, names: Sequence[str]) -> FieldDescriptor | None:
    """The field that a path of field names leads to; None for the request itself, and for a
    oneof.
    """
    message, fd = binding.descriptor.input_type, None
    for name in names:
        if name in message.oneofs_by_name:
            return None
        fd = message.fields_by_name[name]
        message = cast("Descriptor", fd.message_type)
    return fd


def _choice(binding: Binding, names: Sequence[str]) -> str:
    """What to set where a path leads to a oneof; empty where it does not."""
    *above, last = names or [""]
    outer = _field(binding, above)
    message = outer.message_type if outer is not None else binding.descriptor.input_type
    if message is None or last not in message.oneofs_by_name:
        return ""
    return f"set one of {', '.join(each.name for each in message.oneofs_by_name[last].fields)}"


def _description(fd: FieldDescriptor | None, rule_id: str, own: str) -> str:
    """What is wrong, in words that help more than the rule's `own`; empty where there are none."""
    if fd is None:
        return ""
    if names := allowed_values(fd):
        more = f" or {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        return f"must be {'one of ' if len(names) > 1 else ''}{', '.join(names[:_MAX_NAMES])}{more}"
    comment = _comments().get(fd.full_name, "")
    if rule_id == "repeated.unique":
        return "must hold each value once"
    # A regular expression helps nobody.
    said = "is not valid" if rule_id == "string.pattern" else own
    return f"{said}. {comment}" if comment and rule_id in _UNSAID else ""


def _element(element: protovalidate.FieldPathElementPb, *, first: bool) -> str:
    name = element.field_name if first else f".{element.field_name}"
    subscript = element.subscript
    return (
        f"{name}[{subscript.value}]"
        if subscript is not None and subscript.value is not None
        else name
    )


def _broken(violations: list[Violation], found: int) -> GatewayError:
    """The error of the first violations; `found` is the number of all rules that are broken."""
    first = violations[0]
    more = f" (and {found - 1} more)" if found > 1 else ""
    text = f"{first.subject}: {first.description}" if first.subject else first.description
    return GatewayError(errors_pb2.ERROR_REASON_FIELD_INVALID, text + more, violations=violations)
