"""Server reflection, v1alpha as grpcio ships it and v1, which is the same messages under another
package name.
"""

import functools
from collections.abc import Sequence
from typing import Final

import grpc
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import Default
from grpc_reflection.v1alpha import reflection, reflection_pb2

_V1: Final = "grpc.reflection.v1.ServerReflection"


def add_reflection(server: grpc.aio.Server, names: Sequence[str]) -> None:
    """Lets clients ask `server` for the services `names` and their types, by either version."""
    _describe_v1()
    shown = (*names, _V1, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(shown, server)
    handler = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(shown).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_V1, {"ServerReflectionInfo": handler}),)
    )


@functools.cache
def _describe_v1() -> None:
    """Clients look up every service that is listed, so v1 needs a descriptor, too."""
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    v1 = text_format.Parse(
        text_format.MessageToString(alpha).replace("v1alpha", "v1"), FileDescriptorProto()
    )
    Default().AddSerializedFile(v1.SerializeToString())
