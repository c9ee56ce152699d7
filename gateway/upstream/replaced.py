"""Parts of an object that CBR replaces as a whole, as `EMPTY_REPLACED` declares: filled up with what is in force, where a caller sets some fields."""

from collections.abc import Iterator

from cbrgateway.v1 import options_pb2
from google.protobuf.message import Message

from gateway.upstream import codec


def asks(request: Message) -> bool:
    """Whether a change holds such a part, so that the object has to be read first."""
    return any(True for _ in _parts(request, request))


def completed(request: Message, shown: Message) -> Message:
    """The change with its parts filled up from `shown`, the response of the read that shows the object. What the caller set stands as it is."""
    whole = type(request)()
    whole.CopyFrom(request)
    for part, in_force in _parts(whole, shown):
        asked = type(part)()
        asked.CopyFrom(part)
        part.CopyFrom(in_force)
        by_caller = {fd.name for fd, _ in asked.ListFields()}
        for fd, _ in part.ListFields():
            if fd.name in by_caller or fd.GetOptions().Extensions[options_pb2.answer_only]:
                part.ClearField(fd.name)
        part.MergeFrom(asked)
    return whole


def _parts(request: Message, shown: Message) -> Iterator[tuple[Message, Message]]:
    """Each such part that is set in the request, with the message of the same names in `shown`."""
    for fd, value in request.ListFields():
        twin = shown.DESCRIPTOR.fields_by_name.get(fd.name)
        if fd.message_type is None or fd.is_repeated or twin is None or twin.message_type is None:
            continue
        if codec.empty(fd) == options_pb2.EMPTY_REPLACED:
            yield value, getattr(shown, fd.name)
        else:
            yield from _parts(value, getattr(shown, fd.name))
