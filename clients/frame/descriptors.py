"""The descriptor set for clients, `dist/cbrgateway.binpb`, without what the gateway alone reads: no
client needs `buf/validate` or our options.
"""

from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

from clients.frame.languages import DIST, ROOT

COMPLETE: Final = ROOT / "generated" / "cbrgateway.binpb"
STRIPPED: Final = DIST / "cbrgateway.binpb"
_SERVER_ONLY: Final = frozenset(
    {
        "buf/validate/validate.proto",
        "cbrgateway/v1/options.proto",
        "google/protobuf/descriptor.proto",
        "google/rpc/code.proto",
    }
)


def load() -> FileDescriptorSet:
    """All files that a client is made of, with comments, and without the options."""
    complete = FileDescriptorSet.FromString(COMPLETE.read_bytes())
    return FileDescriptorSet(
        file=[_stripped(file) for file in complete.file if file.name not in _SERVER_ONLY]
    )


def write(target: Path = STRIPPED) -> None:
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(load().SerializeToString(deterministic=True))


def _stripped(file: FileDescriptorProto) -> FileDescriptorProto:
    kept = [name for name in file.dependency if name not in _SERVER_ONLY]
    del file.dependency[:]
    file.dependency.extend(kept)
    _without_extensions(file)
    # Where the definitions of the options are not loaded, they are unknown fields.
    file.DiscardUnknownFields()
    # Plugins that look comments up by halving, such as protoc-gen-tonic, find them only in order.
    file.source_code_info.location.sort(key=lambda location: tuple(location.path))
    return file


def _without_extensions(message: Message) -> None:
    for field, value in message.ListFields():
        if field.is_extension:
            message.ClearExtension(field)  # type: ignore[arg-type]  # the stubs want a typed one
        elif field.message_type is not None:
            for each in value if field.is_repeated else (value,):
                _without_extensions(each)
