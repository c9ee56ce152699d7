"""JSON from CBR, read strictly.

msgspec already refuses NaN, Infinity, numbers out of range, broken UTF-8, a byte order mark and
endless nesting. It keeps the last of two equal keys, as most readers do; two readers that keep
different ones see two different answers, so here a repeated key is an error.
"""

import json
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 32
_CONTAINERS: Final = frozenset({dict, list})


class NotJson(ValueError):  # noqa: N818 - what the body is, as its callers read it
    """The body is not one strict JSON document. The text is ours, never the body's."""


def loads(body: bytes) -> object:
    """Decodes one document of at most 32 levels. Raises NotJson."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise NotJson("not a JSON document") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and not within(value, MAX_DEPTH):
        raise NotJson(f"nested deeper than {MAX_DEPTH} levels")
    # What comes out as it went in has lost no member. Other spellings of the same (blanks, escapes)
    # take the exact way, which is slower.
    if msgspec.json.encode(value) != body:
        json.loads(body, object_pairs_hook=_unique)
    return value


def within(value: object, levels: int) -> bool:
    """Whether a value is nested no deeper.

    Level by level, because a recursive walk of a long list costs more than decoding it.
    """
    level: list[Any] = [value]
    for _ in range(levels):
        members = (item.values() if type(item) is dict else item for item in level)
        level = [member for each in members for member in each if type(member) in _CONTAINERS]
        if not level:
            return True
    return False


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("an object repeats a key")
    return found
