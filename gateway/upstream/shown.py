"""Whether an object of CBR is one that was sent."""

from collections.abc import Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gateway.upstream import wire
from gateway.upstream.values import Json


def shows(sent: Mapping[str, Json], read: Mapping[str, Json], of: Descriptor) -> bool:
    """Whether every member of `sent` that messages of the type can show is in `read`, with the same
    value; lists in any order.
    """
    fields = {wire.json_key(fd): fd for fd in of.fields}
    return all(
        _same(value, read.get(key), fields[key]) for key, value in sent.items() if key in fields
    )


def _same(sent: Json, read: Json, fd: FieldDescriptor) -> bool:
    if read is None:
        return sent is None or (not fd.has_presence and not sent)
    if isinstance(sent, dict) and isinstance(read, dict) and fd.message_type is not None:
        return shows(sent, read, fd.message_type)
    if isinstance(sent, list) and isinstance(read, list):
        left = list(read)
        for each in sent:
            match = next((other for other in left if _same_item(each, other, fd)), None)
            if match is None:
                return False
            left.remove(match)
        return not left
    return bool(sent == read)


def _same_item(sent: Json, read: Json, fd: FieldDescriptor) -> bool:
    if isinstance(sent, dict) and isinstance(read, dict) and fd.message_type is not None:
        return shows(sent, read, fd.message_type)
    return bool(sent == read)
