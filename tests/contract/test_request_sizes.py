"""The largest request that the rules of its fields allow fits into what its RPC takes."""

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.operations import load_catalog
from gateway.rpc.settings import ServerLimits

USUAL = ServerLimits().max_message_bytes
FRAMING = 4
"""Bytes of a field's number and length."""
SHORT = 64
"""What a text without a bound is taken to have: a name, an id or a word."""
FEW = 8
"""What a list without a bound is taken to have."""


def largest(descriptor: Descriptor, above: tuple[str, ...] = ()) -> int:
    """Bytes of a message whose texts are ASCII."""
    if descriptor.full_name in above:
        return 0
    inside = (*above, descriptor.full_name)
    sizes = [(fd, largest_field(fd, inside)) for fd in descriptor.fields]
    alone = sum(size for fd, size in sizes if fd.containing_oneof is None)
    oneofs = [max(size for fd, size in sizes if fd in oneof.fields) for oneof in descriptor.oneofs]
    return alone + sum(oneofs)


def largest_field(fd: FieldDescriptor, above: tuple[str, ...]) -> int:
    rules = fd.GetOptions().Extensions[validate_pb2.field]
    count, item = 1, rules
    if fd.is_repeated:
        count, item = rules.repeated.max_items or rules.map.max_pairs or FEW, rules.repeated.items
    if fd.message_type is not None:
        return count * (largest(fd.message_type, above) + FRAMING)
    if fd.type == FieldDescriptor.TYPE_STRING:
        return count * ((item.string.max_len or item.string.max_bytes or SHORT) + FRAMING)
    return count * 8


def test_every_request_within_its_rules_is_taken() -> None:
    for binding in load_catalog(None):
        size = largest(binding.request_type.DESCRIPTOR)
        assert size <= max(USUAL, binding.max_request_bytes), (binding.rpc, size)


def test_only_what_needs_more_is_declared_to_take_more() -> None:
    for binding in load_catalog(None):
        if binding.max_request_bytes:
            size = largest(binding.request_type.DESCRIPTOR)
            assert size > USUAL, (binding.rpc, size, "needs no max_request_kib")
