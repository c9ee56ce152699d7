"""The pages of a list, whichever it is: what the descriptors of its messages tell."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from cbrgateway_client.errors import CallError

Request = TypeVar("Request", bound=Message)
_TOKEN: Final = "page_token"  # noqa: S105 - the name of a field
_NEXT: Final = "next_page_token"


def first_page(request: Request) -> Request:
    """The request, in a copy. Raises TypeError for one of an RPC that is no list."""
    if _TOKEN not in request.DESCRIPTOR.fields_by_name:
        raise TypeError(f"{request.DESCRIPTOR.name} has no {_TOKEN}: its RPC is no list")
    return _copied(request)


def next_page(asked: Request, page: Message) -> Request | None:
    """What asks for the page after this one. None: this is the last one.

    Raises CallError for one that names itself.
    """
    token = getattr(page, _NEXT)
    if not token:
        return None
    if token == getattr(asked, _TOKEN):
        told = "The list does not go on: a page names itself as the next one."
        raise CallError(grpc.StatusCode.INTERNAL, None, None, told)
    following = _copied(asked)
    setattr(following, _TOKEN, token)
    return following


def rows_of(page: Message) -> Sequence[Any]:
    """The repeated field of messages with the lowest number."""
    fields = (each for each in page.DESCRIPTOR.fields if each.is_repeated and each.message_type)
    rows: Sequence[Any] = getattr(page, min(fields, key=lambda each: each.number).name)
    return rows


def _copied(request: Request) -> Request:
    """A call may read its request later than it is made."""
    copied = type(request)()
    copied.CopyFrom(request)
    return copied
