"""Calls that are about the gateway's own marks, as their callers see them: changes of which nothing
is left for CBR, and reads on which marks have no effect.
"""

from collections.abc import Callable
from typing import Any

from cbrgateway.v1 import errors_pb2, vault_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.changes.unmarked import may_hold_mark, unmarked
from gateway.errors import GatewayError
from gateway.upstream.marker import is_mark


def only_a_mark(request: Message) -> bool:
    """Whether a change is about the gateway's own tag alone, and nothing of it is left for CBR."""
    match request:
        case vault_pb2.CreateVaultTagRequest():
            return is_mark(request.tag.key)
        case vault_pb2.DeleteVaultTagRequest():
            return is_mark(request.key)
        case vault_pb2.BatchUpdateVaultTagsRequest():
            return (
                bool(request.tags)
                and all(is_mark(tag.key) for tag in request.tags)
                and not request.system_tags
            )
    return False


def answer_to(request: Message, response: Message) -> Message:
    """Of such a change, to a vault that is there: set, the tag has no effect; deleted by itself, it
    is one that the vault does not have.
    """
    if isinstance(request, vault_pb2.DeleteVaultTagRequest):
        raise GatewayError(
            errors_pb2.ERROR_REASON_TAG_NOT_FOUND,
            "The vault has no tag with this key; keys are case-sensitive.",
        )
    return response


class View(Struct, frozen=True):
    """A read as it is sent to CBR, and what of its answer a caller sees.

    `keep`: of a list that is read whole, which rows; None: CBR's own filter. `sort`: CBR's order.
    """

    request: Message
    keep: Callable[[Any], bool] | None = None
    sort: None = None
    counted: bool = False

    def finished(self, response: Message) -> Message:
        """What a caller gets who wants only the number of rows."""
        if self.counted:
            for name in ("resources", "next_page_token"):
                response.ClearField(name)
        return response


def view(request: Message) -> View:
    """How a read is carried out so that marks have no effect."""
    plain = unmarked(request) if may_hold_mark(request) else request
    if not (isinstance(plain, vault_pb2.QueryVaultsByTagRequest) and plain.without_any_tag):
        return View(plain)
    # A vault whose only tag is a mark has none for callers, which CBR cannot know.
    for name in ("without_any_tag", "tags", "tags_any", "not_tags", "not_tags_any"):
        plain.ClearField(name)
    counted = plain.action == vault_pb2.TAG_QUERY_ACTION_COUNT
    plain.action = vault_pb2.TAG_QUERY_ACTION_FILTER
    return View(plain, keep=lambda row: not row.tags, counted=counted)
