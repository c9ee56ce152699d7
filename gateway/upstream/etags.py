"""The etags of objects: computed from what CBR shows of them, but for the fields that are declared
to be outside of it, in the object and one level below.

They are weak ones (RFC 9110): two objects with the same one may differ in those fields.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
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
    for name, many in objects(answer.DESCRIPTOR):
        if many or answer.HasField(name):
            rows = getattr(answer, name) if many else (getattr(answer, name),)
            for row, etag in zip(rows, etags_of(rows), strict=True):
                row.etag = etag


def etags_of(rows: Sequence[Any]) -> list[str]:
    """Of objects of one kind, as callers see them."""
    found = []
    for row in rows:
        bare = _bare(row.DESCRIPTOR).FromString(row.SerializeToString(deterministic=True))
        bare.DiscardUnknownFields()
        digest = hashlib.blake2b(bare.SerializeToString(), digest_size=_BYTES)
        found.append(f'W/"{digest.hexdigest()}"')
    return found


@cache
def objects(answer: Descriptor) -> tuple[tuple[str, bool], ...]:
    """The fields of an answer that show objects with an etag, and whether it is a list of them."""
    return tuple(
        (fd.name, fd.is_repeated)
        for fd in answer.fields
        if fd.message_type is not None and FIELD in fd.message_type.fields_by_name
    )


@cache
def _bare(shown: Descriptor) -> type[Message]:
    """A message that reads an object's bytes and knows only the fields that count: so the others
    are left out in C, and not cleared one by one.
    """
    file = FileDescriptorProto(name=f"etag/{shown.full_name}", package="etag", syntax="proto2")
    own = file.message_type.add(name="Object")
    for fd in shown.fields:
        if fd.name == FIELD or _is_outside(fd):
            continue
        field = _field(own, fd)
        if fd.message_type is not None and any(map(_is_outside, fd.message_type.fields)):
            inner = own.nested_type.add(name=f"In_{fd.name}")
            for each in fd.message_type.fields:
                if not _is_outside(each):
                    _field(inner, each)
            field.type = FieldDescriptorProto.TYPE_MESSAGE
            field.type_name = f".etag.Object.{inner.name}"
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("etag.Object"))


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
