"""Requests without their secrets, for people to look at."""

from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_MASK: Final = "***"


def masked(message: Message) -> Message:
    """A copy in which the mask stands for every value that is declared `secret`; one that is no
    text is left out.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    _mask(copy)
    return copy


def _mask(message: Message) -> None:
    for fd, value in message.ListFields():
        if fd.GetOptions().Extensions[options_pb2.secret]:
            _hide(message, fd, value)
        elif fd.message_type is not None and not fd.message_type.GetOptions().map_entry:
            for each in value if fd.is_repeated else (value,):
                _mask(each)


def _hide(message: Message, fd: FieldDescriptor, value: Any) -> None:  # noqa: ANN401 - any value
    if fd.type != FieldDescriptor.TYPE_STRING:
        message.ClearField(fd.name)
    elif fd.is_repeated:
        value[:] = [_MASK] * len(value)
    else:
        setattr(message, fd.name, _MASK)
