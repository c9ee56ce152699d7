"""What an answer proves, and the response that it holds, read so that other calls go on meanwhile.

A large answer to a list is cut: the document without its rows is judged as any answer is, and its
rows are read in parts, each as an answer of its own. Between two of them the event loop goes on.
What is large and cannot be cut is read only where it has not too many members.
"""

import asyncio
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import msgspec
from google.protobuf.message import Message

from gateway.upstream.declaration import OnBadRow
from gateway.upstream.http import FIRST_ERROR, HttpResponse, TooLarge
from gateway.upstream.location import named_in
from gateway.upstream.message_plan import MessagePlan
from gateway.upstream.orders import keep_ids, response_to
from gateway.upstream.outcome import Attempt, Outcome, judge
from gateway.upstream.rows import UnreadableRow
from gateway.upstream.upstream_call import UpstreamCall
from gateway.upstream.values import Json, ProtocolError
from gateway.upstream.wire import UNREADABLE_ROWS

LARGE_BYTES: Final = 256 * 1024
"""What is read at once, without a look at what is in it."""
_PART_BYTES: Final = 64 * 1024
_PART_ROWS: Final = 500
_MAX_ROWS: Final = 10_000
"""Of one answer: CBR has at most 1000 in a page."""
_MAX_MEMBERS: Final = 100_000
"""Of what is large and read at once."""

_Read = tuple[Attempt, Message | None]


async def in_parts(call: UpstreamCall, response: HttpResponse) -> _Read:
    """As `at_once`, of a large answer. Raises TooLarge."""
    if response.status >= FIRST_ERROR:
        # Nobody writes so much to say why.
        return at_once(call, _with_body(response, b""), None)
    if not call.binding.reads:
        # What has come of a change is known at once, whoever stops waiting.
        _check_members(response.body)
        return at_once(call, response, None)
    cut = await _cut(call.binding.response_plan, response.body)
    if cut is None:
        _check_members(response.body)
        return at_once(call, response, call.on_bad_row)
    frame, parts = cut
    _check_members(frame)
    attempt, message = at_once(call, _with_body(response, frame), None)
    if message is None:
        return attempt, None
    unreadable = 0
    for first, part in parts:
        await asyncio.sleep(0)
        told = _shifted(call.on_bad_row, first)
        failed, rows = at_once(call, _with_body(response, part), told)
        if rows is None:
            return failed, None
        unreadable += getattr(rows, UNREADABLE_ROWS, 0)
        message.MergeFrom(rows)
    if unreadable:
        setattr(message, UNREADABLE_ROWS, unreadable)
    return msgspec.structs.replace(attempt, message=message, body=response.body), message


def at_once(call: UpstreamCall, response: HttpResponse, on_bad_row: OnBadRow | None) -> _Read:
    """A success whose body has the wrong shape proves nothing."""
    binding = call.binding
    attempt = judge(response, reads=binding.reads, fast=binding.fast_response)
    if attempt.message is not None or attempt.value is None:
        return attempt, attempt.message
    try:
        return attempt, _understood(call, attempt, attempt.value, on_bad_row)
    except ProtocolError as error:
        if (placed := response_to(binding.response_type, attempt.value)) is not None:
            return attempt, placed
        named = named_in(response, call.request, binding)
        if named and type(attempt.value) is dict and named.keys().isdisjoint(attempt.value):
            return attempt, _understood(call, attempt, {**attempt.value, **named}, on_bad_row)
        unread = msgspec.structs.replace(
            attempt, outcome=Outcome.AMBIGUOUS, value=None, problem=str(error)
        )
        return unread, None


def _understood(
    call: UpstreamCall, attempt: Attempt, value: Json, on_bad_row: OnBadRow | None
) -> Message:
    """The response. Raises ProtocolError."""
    message = call.binding.response(value, on_bad_row)
    if (check := call.binding.traits.check_answer) is not None:
        check(call.message, value)
    keep_ids(message, attempt.order_ids)
    return message


# Cutting
# --------------------------------------------------------------------------------------------------


async def _cut(plan: MessagePlan, body: bytes) -> tuple[bytes, Iterator[tuple[int, bytes]]] | None:
    """The document without its rows, and documents of some rows each, with the number of the first;
    None where there are no rows to cut. Raises TooLarge.
    """
    keys = tuple(key for key, reader in plan.readers.items() if plan.rows == reader.name)
    try:
        found = msgspec.structs.astuple(_rows_of(keys).decode(body))
        key, rows = max(zip(keys, found, strict=True), key=lambda each: len(memoryview(each[1])))
        await asyncio.sleep(0)
        items = _ITEMS.decode(rows)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        # No list, or nothing that can be read: it takes a look at the whole to say so.
        return None
    if len(items) > _MAX_ROWS:
        raise TooLarge("the answer has too many rows")
    await asyncio.sleep(0)
    before, _, after = body.partition(bytes(rows))
    return b"%b[]%b" % (before, after), _documents(key.encode(), items)


_ITEMS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_NOTHING: Final = msgspec.Raw(b"")


@cache
def _rows_of(keys: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Finds the rows in a document, and looks at nothing else of it. `keys`: they may stand under
    one of these.
    """
    names = {f"rows{index}": key for index, key in enumerate(keys)}
    fields = [(name, msgspec.Raw, _NOTHING) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Rows", fields, rename=names))


def _documents(key: bytes, items: Sequence[msgspec.Raw]) -> Iterator[tuple[int, bytes]]:
    group: list[bytes] = []
    size = 0
    for index, item in enumerate(items, 1):
        group.append(_row(bytes(item)))
        size += len(group[-1])
        if size >= _PART_BYTES or len(group) == _PART_ROWS or index == len(items):
            yield index - len(group), b'{"%b":[%b]}' % (key, b",".join(group))
            group, size = [], 0


def _row(text: bytes) -> bytes:
    """Nothing in the place of a row that would take long, so that it counts as unreadable."""
    return b"null" if len(text) > LARGE_BYTES and text.count(b":") > _MAX_MEMBERS else text


def _check_members(document: bytes) -> None:
    if len(document) > LARGE_BYTES and document.count(b":") > _MAX_MEMBERS:
        raise TooLarge("the answer has too many members")


def _with_body(response: HttpResponse, body: bytes) -> HttpResponse:
    return msgspec.structs.replace(response, body=body)


def _shifted(on_bad_row: OnBadRow | None, by: int) -> OnBadRow | None:
    """Of a part that begins with that row of the answer."""
    if on_bad_row is None:
        return None
    tell = on_bad_row

    def told(row: UnreadableRow) -> None:
        tell(msgspec.structs.replace(row, index=row.index + by))

    return told
