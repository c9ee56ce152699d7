"""Parts of an object that CBR replaces as a whole, as `EMPTY_REPLACED` declares: filled up with
what is in force, where a caller sets some fields.

What CBR shows of such a part and this version has no field for, or cannot read, is sent back as it
came, so that it is not lost either. Where the read does not show the part as an object nobody knows
what is in force, and nothing is sent, unless the caller set every field. The same where a member
cannot be sent back as it came, since it is damaged (tolerant_json.py).
"""

from collections.abc import Iterator

from cbrgateway.v1 import errors_pb2, options_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.errors import GatewayError
from gateway.upstream import wire
from gateway.upstream.declaration import Binding
from gateway.upstream.tolerant_json import is_damaged
from gateway.upstream.values import Json


def asks(request: Message) -> bool:
    """Whether a change holds such a part, so that the object has to be read first."""
    return any(True for _ in _parts(request, ()))


def in_force(read: Binding, answer: Json, shown: Message) -> dict[str, Json]:
    """The whole answer of a read as it could be sent back: what was understood in our own words,
    the rest as it came.
    """
    return _over(read.response_plan.write(shown), read.response_plan.left(answer))


def completed(
    binding: Binding, request: Message, read: Binding, now: dict[str, Json]
) -> dict[str, Json]:
    """The members of a change with its parts filled up from `now`, the `in_force` of the object.

    What the caller set stands as it is.

    Raises UPSTREAM_PROTOCOL where a part is not shown.
    """
    members = binding.members(request)
    for path in _parts(request, ()):
        part, whole = members, _shown(read.descriptor.output_type, now, path)
        for fd in path:
            part = part[wire.json_key(fd)]
        own = {wire.json_key(fd): wire.answer_only(fd) for fd in _inside(path[-1]).fields}
        if type(whole) is not dict:
            if not all(set_by_cbr or key in part for key, set_by_cbr in own.items()):
                raise _not_shown(read, path)
            continue
        for key in whole.keys() - part.keys():
            if own.get(key):
                continue
            if is_damaged(whole[key]):
                raise _not_shown(read, path)
            part[key] = whole[key]
    return members


def _not_shown(read: Binding, path: tuple[FieldDescriptor, ...]) -> GatewayError:
    field = ".".join(fd.name for fd in path)
    text = (
        f"{field} cannot be read now: CBR's answer to {read.operation} does not show it as an"
        " object that is whole, so that the change would lose the settings which it does not name."
        " Nothing was sent; repeat later, or set every field of it."
    )
    return GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text, metadata={"field": field})


def _parts(
    request: Message, above: tuple[FieldDescriptor, ...]
) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The way to each such part that is set in the request."""
    for fd, value in request.ListFields():
        if fd.message_type is None or fd.is_repeated:
            continue
        if wire.empty(fd) == options_pb2.EMPTY_REPLACED:
            yield (*above, fd)
        else:
            yield from _parts(value, (*above, fd))


def _shown(descriptor: Descriptor, now: Json, path: tuple[FieldDescriptor, ...]) -> Json:
    """The part under the same names in what is in force; what is no object if it is not shown."""
    for fd in path:
        twin = descriptor.fields_by_name[fd.name]
        descriptor, now = (
            _inside(twin),
            now.get(wire.json_key(twin)) if type(now) is dict else None,
        )
    return now


def _inside(fd: FieldDescriptor) -> Descriptor:
    assert fd.message_type is not None
    return fd.message_type


def _over(known: dict[str, Json], left: dict[str, Json]) -> dict[str, Json]:
    """Both together; what could not be read stands in the place of what was made of it."""
    both = {**known, **left}
    for key in known.keys() & left.keys():
        if type(known[key]) is dict and type(left[key]) is dict:
            both[key] = _over(known[key], left[key])
    return both
