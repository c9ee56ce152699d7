"""What people are shown of a request has no secrets in it."""

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from gateway.upstream.masked import masked


def message_type():
    """A message with secrets, with messages like itself in it."""
    file = FileDescriptorProto(name="thing.proto", package="thing", syntax="proto3")
    thing = file.message_type.add(name="Thing")
    fields = (
        ("name", Field.TYPE_STRING, Field.LABEL_OPTIONAL, False),
        ("key", Field.TYPE_STRING, Field.LABEL_OPTIONAL, True),
        ("keys", Field.TYPE_STRING, Field.LABEL_REPEATED, True),
        ("pin", Field.TYPE_INT64, Field.LABEL_OPTIONAL, True),
        ("inside", Field.TYPE_MESSAGE, Field.LABEL_OPTIONAL, False),
        ("all", Field.TYPE_MESSAGE, Field.LABEL_REPEATED, False),
    )
    for number, (name, kind, label, secret) in enumerate(fields, 1):
        field = thing.field.add(name=name, number=number, type=kind, label=label)
        if kind == Field.TYPE_MESSAGE:
            field.type_name = ".thing.Thing"
        if secret:
            field.options.Extensions[options_pb2.secret] = True
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("thing.Thing"))


def test_secrets_are_masked_wherever_they_are_and_nothing_else_is():
    kind = message_type()
    secret = {"name": "n", "key": "k-1", "keys": ["k-2", "k-3"], "pin": 4711}
    given = kind(**secret, inside=kind(**secret), all=[kind(**secret), kind(name="m")])
    hidden = {"name": "n", "key": "***", "keys": ["***", "***"]}
    assert masked(given) == kind(
        **hidden, inside=kind(**hidden), all=[kind(**hidden), kind(name="m")]
    )
    assert given.key == "k-1"
