"""Whether the lists of a request are of a sane length, told before anything looks at their items.

Checking the rules of one item is cheap, and a megabyte holds half a million empty ones: the full
validation of such a request, with a violation for each item, would keep the event loop from all
other callers for seconds. Here only lengths are looked at, by a plan made once per message type.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final, cast

from buf.validate import validate_pb2
from cbrgateway.v1 import options_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.errors import Violation

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

_MAX_ITEMS_RULE: Final = "repeated.max_items"
MAX_ITEMS: Final = 1000
"""Of a list whose proto declares no `max_items`, or one that is unsure."""
MAX_ITEMS_IN_ALL: Final = 10_000
"""Of all lists of one request together: lists inside list items multiply."""


class Step(Struct, frozen=True):
    """A field to look at.

    `limit`: the most items it may have, 0 if it is no list; `inside`: whether it holds messages
    with fields to look at.
    """

    name: str
    limit: int
    inside: bool


def oversized(request: Message) -> Violation | None:
    """The first list that is too long, in the order of the fields; None if there is none."""
    total = 0
    for path, length, limit in _lengths(request, ""):
        total += length
        if length > limit:
            return Violation(path, f"must have at most {limit} items", _MAX_ITEMS_RULE)
        if total > MAX_ITEMS_IN_ALL:
            return Violation(
                path,
                f"makes more than {MAX_ITEMS_IN_ALL} items in all lists of the request together",
                _MAX_ITEMS_RULE,
            )
    return None


def _lengths(message: Message, prefix: str) -> Iterator[tuple[str, int, int]]:
    """Path, length and limit of every list, each before those inside its items."""
    for step in _steps(cast("Descriptor", message.DESCRIPTOR)):
        if not step.limit:
            if message.HasField(step.name):
                yield from _lengths(getattr(message, step.name), f"{prefix}{step.name}.")
            continue
        items = getattr(message, step.name)
        if items:
            yield f"{prefix}{step.name}", len(items), step.limit
            if step.inside:
                for index, item in enumerate(items):
                    yield from _lengths(item, f"{prefix}{step.name}[{index}].")


@cache
def _steps(message: "Descriptor") -> tuple[Step, ...]:
    steps = (Step(fd.name, _limit(fd), _has_lists(fd)) for fd in message.fields)
    return tuple(step for step in steps if step.limit or step.inside)


def _limit(fd: "FieldDescriptor") -> int:
    rules = fd.GetOptions().Extensions[validate_pb2.field].repeated
    sure = _MAX_ITEMS_RULE not in fd.GetOptions().Extensions[options_pb2.unsure]
    declared = rules.max_items if rules.HasField("max_items") and sure else MAX_ITEMS
    return declared if fd.is_repeated else 0


def _has_lists(fd: "FieldDescriptor") -> bool:
    """Whether a list can occur at any depth inside the field's messages."""
    waiting, seen = [fd.message_type] if fd.message_type is not None else [], set()
    while waiting:
        message = waiting.pop()
        if message.full_name in seen:
            continue
        seen.add(message.full_name)
        if message.GetOptions().map_entry:
            continue
        if any(inside.is_repeated for inside in message.fields):
            return True
        waiting.extend(
            inside.message_type for inside in message.fields if inside.message_type is not None
        )
    return False
