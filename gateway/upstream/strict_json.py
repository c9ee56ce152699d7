"""JSON from CBR, read strictly.

msgspec already refuses NaN, Infinity, numbers out of range, broken UTF-8, a byte order mark and endless nesting. It keeps the last of two equal
keys, as most readers do; two readers that keep different ones see two different answers, so here a repeated key is an error.
"""

import json
import re
from typing import Final

import msgspec

MAX_DEPTH: Final = 32
_CONTAINERS: Final = frozenset({dict, list})
_SPACE_AFTER_STRING: Final = re.compile(rb'"[ \t\r\n]')


class NotJson(ValueError):  # noqa: N818 - what the body is, as its callers read it
    """The body is not one strict JSON document. The text is ours, never the body's."""


def loads(body: bytes) -> object:
    """Decodes one document of at most 32 levels. Raises NotJson."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise NotJson("not a JSON document") from error
    keys = _count_keys(value)
    # In compact JSON each key ends in `":`. If their number is the number of keys kept, none was repeated; any other shape takes the exact way.
    if body.count(b'":') != keys or _SPACE_AFTER_STRING.search(body):
        json.loads(body, object_pairs_hook=_unique)
    return value


def _count_keys(value: object) -> int:
    """Level by level, because a recursive walk of a long list costs more than decoding it."""
    keys = 0
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            members: object = item
            if type(item) is dict:
                keys += len(item)
                members = item.values()
            below += [member for member in members if type(member) in _CONTAINERS]  # type: ignore[attr-defined]
        if not below:
            return keys
        level = below
    raise NotJson(f"nested deeper than {MAX_DEPTH} levels")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("an object repeats a key")
    return found
