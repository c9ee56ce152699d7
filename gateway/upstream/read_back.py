"""Whether a change whose outcome is unknown is in force, told from what an ordinary read shows, and
the response it would have had.

Most changes need no code here: the request's object (`{"vault": {...}}`) is compared with the
object of the same name in the read; every member that was sent must be there with the same value.
The calls that say it in another way have the trait read_back.

There are three answers, and a doubt never becomes a success:

    a response      every member that was sent is shown in force
    None            some of it is not shown; the change is sent again, which is harmless for what is
                    IDEMPOTENT
    OUTCOME_UNKNOWN all of it is shown, but not what CBR would have answered (`AnswerNotShown`); or
    what is there may be another's, because of which a repeat would fail
"""

from collections.abc import Mapping
from typing import NoReturn

from cbrgateway.v1 import errors_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.errors import GatewayError
from gateway.upstream import wire
from gateway.upstream.declaration import Binding
from gateway.upstream.traits import ReadBack
from gateway.upstream.values import Json


def read_request(read: Binding, request: Message) -> Message:
    """The request of the read, with every field that both requests have (`vault_id`, …)."""
    wanted = read.request_type()
    for fd in wanted.DESCRIPTOR.fields:
        if (
            fd.name in request.DESCRIPTOR.fields_by_name
            and fd.type == fd.TYPE_STRING
            and not fd.is_repeated
        ):
            setattr(wanted, fd.name, getattr(request, fd.name))
    return wanted


def settled(binding: Binding, read: Binding, request: Message, observed: Message) -> Message | None:
    """The response if `observed`, the response of `read`, shows the change in force, else None.

    Raises OUTCOME_UNKNOWN.
    """
    change = ReadBack(
        request, observed, binding.members(request), read.response_plan.write(observed)
    )
    check = binding.traits.read_back
    if check is not None:
        return binding.response_type(**found) if (found := check(change)) is not None else None
    if not within(change.sent, change.read, read.descriptor.output_type):
        return None
    response = binding.response_type()
    for fd in observed.DESCRIPTOR.fields:
        if fd.name in response.DESCRIPTOR.fields_by_name:
            getattr(response, fd.name).CopyFrom(getattr(observed, fd.name))
    return response


def within(sent: Mapping[str, Json], read: Mapping[str, Json], shown: Descriptor) -> bool:
    """Whether every member of `sent` is in `read`, the JSON of a message of type `shown`, with the
    same value.

    A member that is missing in the read says nothing, unless its field there has no presence: then
    it is false, 0 or empty. A member that the message does not have is never shown. An object with
    nothing but lists that it clears asks for nothing that could be shown, so only one in which
    nothing is shown is like it.
    """
    fields = {wire.json_key(fd): fd for fd in shown.fields if fd.name not in wire.GATEWAY_FIELDS}
    if all(value == [] for value in sent.values()):
        return not any(read.values())
    return all(
        key in fields and _same(value, read.get(key), fields[key]) for key, value in sent.items()
    )


def _same(sent: Json, read: Json, fd: FieldDescriptor) -> bool:
    if read is None:
        return sent is None or (not fd.has_presence and not sent)
    if (
        fd.message_type is not None
        and isinstance(sent, dict)
        and isinstance(read, dict)
        and not wire.is_map(fd)
    ):
        return within(sent, read, fd.message_type)
    if fd.message_type is not None and isinstance(sent, list) and isinstance(read, list):
        return len(sent) == len(read) and all(
            _same(a, b, fd) for a, b in zip(sent, read, strict=True)
        )
    return bool(sent == read)


class AnswerNotShown(GatewayError):  # noqa: N818 - what has happened, as its callers read it
    """OUTCOME_UNKNOWN for a change that a read shows in force, but not what CBR answered."""


def answer_not_shown() -> NoReturn:
    """For a check to which a read shows all that was asked for, and not what CBR answered.

    Raises OUTCOME_UNKNOWN.
    """
    raise AnswerNotShown(
        errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN,
        "A read shows what was asked for, but not what came of this call.",
    )


def cannot_tell() -> NoReturn:
    """For a check to which a read shows what this call can have done, or another.

    Raises OUTCOME_UNKNOWN.
    """
    raise GatewayError(
        errors_pb2.ERROR_REASON_OUTCOME_UNKNOWN,
        "A read shows what this call can have done, or another.",
    )
