"""What callers see of the gateway's own marks: nothing.

Answers, requests and filters are as if there were none.

There is one rule for the tag's key in a request: to set it does nothing, and to everything else
vaults have no such tag. A mark may be in any tag, in a description, and in what a message keeps of
CBR's answer beside its fields. Where messages of such types are, is read from the descriptors; no
RPC is named but the one filter that CBR cannot apply for us.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from cbrgateway.v1 import errors_pb2, vault_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.errors import GatewayError
from gateway.upstream.marker import MARKER

_PACKAGE: Final = "cbrgateway.v1."
_TAGS: Final = frozenset({f"{_PACKAGE}Tag", f"{_PACKAGE}TagValues"})
_FILTERS: Final = f"{_PACKAGE}TagFilter"
_NO_MARK: Final = "-"
"""A value that no mark has, so that a filter for it finds what one for a missing tag does."""
_DESCRIPTION: Final = re.compile(rf"{MARKER} [A-Za-z0-9_.-]{{1,128}}")
_STRUCT: Final = "google.protobuf.Struct"

Clear = Callable[[Any], None]


def unmarked(message: Any) -> Any:  # noqa: ANN401 - any request
    """A request without marks, such as one that was made of what another gateway's or an older
    one's callers could read.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    clear(copy)
    return copy


def clear(message: Any) -> None:  # noqa: ANN401 - any request or response
    """Takes the marks out of a message."""
    plan = _plan(message.DESCRIPTOR)
    for fd, _ in message.ListFields() if plan else ():
        if fd.name in plan:
            plan[fd.name](message)


@cache
def _plan(descriptor: Descriptor) -> Mapping[str, Clear]:
    """The fields of a message type that may hold a mark, and how each is cleared."""
    return {fd.name: act for fd in descriptor.fields if (act := _act(fd))}


def _act(fd: FieldDescriptor) -> Clear | None:
    if (plain := _plain(fd)) is not None:
        return lambda message: plain(getattr(message, fd.name))
    if _is_text(fd):
        return lambda message: (
            message.ClearField(fd.name)
            if _DESCRIPTION.fullmatch(getattr(message, fd.name))
            else None
        )
    if fd.message_type is None or not _reaches(fd.message_type, frozenset()):
        return None
    return lambda message: _each(
        getattr(message, fd.name) if fd.is_repeated else (getattr(message, fd.name),)
    )


def _plain(fd: FieldDescriptor) -> Clear | None:
    """How a field is cleared whose type alone says what is in it."""
    kind = fd.message_type.full_name if fd.message_type else ""
    if kind in _TAGS:
        return _drop if fd.is_repeated else None
    return {_FILTERS: _find_nothing, _STRUCT: _clear_struct}.get(kind)


def _is_text(fd: FieldDescriptor) -> bool:
    return bool(fd.name == "description" and fd.type == fd.TYPE_STRING)


def _each(messages: Iterable[Any]) -> None:
    for message in messages:
        clear(message)


def _reaches(descriptor: Descriptor, above: frozenset[str]) -> bool:
    """Whether a message type has a field that may hold a mark, at any depth."""
    if (
        not descriptor.full_name.startswith(_PACKAGE)
        or descriptor.full_name in above
        or descriptor.GetOptions().map_entry
    ):
        return False
    inside = above | {descriptor.full_name}
    return any(
        _plain(fd)
        or _is_text(fd)
        or (fd.message_type is not None and _reaches(fd.message_type, inside))
        for fd in descriptor.fields
    )


def _drop(tags: Any) -> None:  # noqa: ANN401 - a repeated field
    for index in reversed(range(len(tags))):
        if tags[index].key == MARKER:
            del tags[index]


def _find_nothing(filters: Any) -> None:  # noqa: ANN401 - a repeated field
    for each in filters:
        if each.key == MARKER:
            each.values[:] = [_NO_MARK]


def _clear_struct(struct: Any) -> None:  # noqa: ANN401 - a Struct
    for key in list(struct.fields):
        if _is_mark(struct.fields[key]):
            del struct.fields[key]
        else:
            _clear_value(struct.fields[key])


def _clear_value(value: Any) -> None:  # noqa: ANN401 - a Value
    if value.HasField("struct_value"):
        _clear_struct(value.struct_value)
    elif value.HasField("list_value"):
        items = value.list_value.values
        for index in reversed(range(len(items))):
            if _is_mark(items[index]):
                del items[index]
            else:
                _clear_value(items[index])


def _is_mark(value: Any) -> bool:  # noqa: ANN401 - a Value
    if value.HasField("struct_value"):
        return (
            bool(value.struct_value.fields["key"].string_value == MARKER)
            if "key" in value.struct_value.fields
            else False
        )
    return bool(_DESCRIPTION.fullmatch(value.string_value))


def only_a_mark(request: Any) -> bool:  # noqa: ANN401 - any request
    """Whether a change is about nothing but the gateway's own tag, so that nothing of it is left
    for CBR.
    """
    match request:
        case vault_pb2.CreateVaultTagRequest():
            return bool(request.tag.key == MARKER)
        case vault_pb2.DeleteVaultTagRequest():
            return bool(request.key == MARKER)
        case vault_pb2.BatchUpdateVaultTagsRequest():
            return (
                bool(request.tags)
                and all(tag.key == MARKER for tag in request.tags)
                and not request.system_tags
            )
    return False


def answer_to(request: Any, response: Message) -> Message:  # noqa: ANN401 - a request of `only_a_mark`
    """Of such a change, to a vault that is there: set, the tag has no effect; deleted by itself, it
    is one that the vault does not have.
    """
    if isinstance(request, vault_pb2.DeleteVaultTagRequest):
        raise GatewayError(
            errors_pb2.ERROR_REASON_TAG_NOT_FOUND,
            "The vault has no tag with this key; keys are case-sensitive.",
        )
    return response


# Vaults without any tag
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """A read as it is sent to CBR, and what of its answer a caller sees.

    `keep`: of a list that is read whole, which rows; None: CBR's own filter.
    """

    request: Any
    keep: Callable[[Any], bool] | None = None
    counted: bool = False

    def finished(self, response: Any) -> Message:  # noqa: ANN401 - any response
        """What a caller gets who wants only the number of rows."""
        if self.counted:
            for name in ("resources", "next_page_token"):
                response.ClearField(name)
        answer: Message = response
        return answer


def view(request: Any) -> View:  # noqa: ANN401 - any read
    """How a read is carried out so that marks have no effect."""
    seen = View(unmarked(request))
    if not (isinstance(request, vault_pb2.QueryVaultsByTagRequest) and request.without_any_tag):
        return seen
    # A vault whose only tag is a mark has none for callers, which CBR cannot know.
    for name in ("without_any_tag", "tags", "tags_any", "not_tags", "not_tags_any"):
        seen.request.ClearField(name)
    counted = request.action == vault_pb2.TAG_QUERY_ACTION_COUNT
    seen.request.action = vault_pb2.TAG_QUERY_ACTION_FILTER
    return replace(seen, keep=lambda row: not row.tags, counted=counted)
