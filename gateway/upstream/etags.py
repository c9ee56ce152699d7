"""The etags of objects: computed from what CBR shows of them, but for the fields that are declared
to be outside of it, in the object and one level below.

They are weak ones (RFC 9110): two objects with the same one may differ in those fields.
"""

from functools import cache
from hashlib import blake2b
from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

FIELD: Final = "etag"
_BYTES: Final = 8
_AS_WRITTEN: Final = {
    FieldDescriptor.TYPE_MESSAGE: FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_STRING: FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32,
}
"""Types that need no description of their own. None of them is a map, whose entries would have no
order.
"""


def tell(answer: Any) -> None:  # noqa: ANN401 - any message
    """Puts the etag into each object that an answer shows, where its message has one."""
    for row, etag in etags_of(answer):
        row.etag = etag


def etags_of(answer: Any) -> list[tuple[Any, str]]:  # noqa: ANN401 - any message
    """The objects of an answer, as callers see them, and the etag of each."""
    shown = objects(answer.DESCRIPTOR)
    if not shown:
        return []
    bare: Any = _bare(answer.DESCRIPTOR).FromString(answer.SerializeToString(deterministic=True))
    bare.DiscardUnknownFields()
    pairs: list[tuple[Any, Message]] = []
    for name, many in shown:
        if many:
            pairs += zip(getattr(answer, name), getattr(bare, name), strict=True)
        elif answer.HasField(name):
            pairs.append((getattr(answer, name), getattr(bare, name)))
    return [
        (row, f'W/"{blake2b(counted.SerializeToString(), digest_size=_BYTES).hexdigest()}"')
        for row, counted in pairs
    ]


@cache
def objects(answer: Descriptor) -> tuple[tuple[str, bool], ...]:
    """The fields of an answer that show objects with an etag, and whether it is a list of them."""
    return tuple(
        (fd.name, fd.is_repeated)
        for fd in answer.fields
        if fd.message_type is not None and FIELD in fd.message_type.fields_by_name
    )


@cache
def _bare(answer: Descriptor) -> type[Message]:
    """A message that reads an answer's bytes and knows only the objects, and of them only the
    fields that count: so the others are left out in C, and not cleared one by one.
    """
    file = FileDescriptorProto(name=f"etag/{answer.full_name}", package="etag", syntax="proto2")
    own = file.message_type.add(name="Answer")
    for name, _ in objects(answer):
        fd = answer.fields_by_name[name]
        _nested(own, fd, _field(own, fd))
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("etag.Answer"))


def _nested(holder: DescriptorProto, fd: FieldDescriptor, field: FieldDescriptorProto) -> None:
    """Has a field hold a message that knows what counts of that of `fd`."""
    inner = holder.nested_type.add(name=f"In_{fd.name}")
    field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, inner.name
    assert fd.message_type is not None
    for each in fd.message_type.fields:
        if each.name != FIELD and not _is_outside(each):
            made = _field(inner, each)
            if each.message_type is not None and any(map(_is_outside, each.message_type.fields)):
                _nested(inner, each, made)


def _field(message: DescriptorProto, fd: FieldDescriptor) -> FieldDescriptorProto:
    """A field that is set where the other one is, and is written as that one."""
    own, kinds = FieldDescriptorProto, FieldDescriptorProto.Type
    return message.field.add(
        name=fd.name,
        number=fd.number,
        label=own.LABEL_REPEATED if fd.is_repeated else own.LABEL_OPTIONAL,
        type=kinds.ValueType(_AS_WRITTEN.get(fd.type, fd.type)),
    )


def _is_outside(fd: FieldDescriptor) -> bool:
    return bool(fd.GetOptions().Extensions[options_pb2.outside_etag])
