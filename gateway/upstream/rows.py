"""A row of a list of CBR, whether it can be read or not: what tells it from the others, and where
in an answer it stands.
"""

import json
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING, TypeAlias

from google.protobuf.message import Message
from msgspec import Struct

from gateway.upstream.values import Json

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor


class UnreadableRow(Struct, frozen=True):
    """A row that cannot be understood.

    `index`: among all rows of its answer; `id`: empty where it has none; `digest`: of its JSON.
    """

    index: int
    id: str
    problem: str
    digest: str


Row: TypeAlias = Message | UnreadableRow
"""It has a place in its list either way: a list goes on behind a row that cannot be read, and ends
there, as behind any other.
"""


def unreadable_row(index: int, row: Json, problem: str) -> UnreadableRow:
    named = row.get("id") if type(row) is dict else None
    digest = blake2b(
        json.dumps(row, sort_keys=True, default=str).encode(), digest_size=16
    ).hexdigest()
    return UnreadableRow(index, named if type(named) is str else "", problem, digest)


def in_order(readable: Sequence[Message], unreadable: Sequence[UnreadableRow]) -> list[Row]:
    """All rows of an answer as they stood in it. `unreadable`: in their order."""
    rows: list[Row] = []
    rest = iter(readable)
    for row in unreadable:
        rows += islice(rest, row.index - len(rows))
        rows.append(row)
    return [*rows, *rest]


def readable(rows: Sequence[Row]) -> list[Message]:
    return [row for row in rows if not isinstance(row, UnreadableRow)]


def row_id(row: Row) -> str:
    """What tells a row from the others: its `id`, else all of its keys together, else its first
    field; of one that cannot be read, else its JSON.
    """
    if isinstance(row, UnreadableRow):
        return row.id or row.digest
    return _reader(row.DESCRIPTOR)(row)


def row_ids(rows: Sequence[Row]) -> list[str]:
    """The same of many at once."""
    messages = readable(rows)
    if not messages or len(messages) != len(rows):
        return [row_id(row) for row in rows]
    return [*map(_reader(messages[0].DESCRIPTOR), messages)]


def marker_of(row: Row) -> str:
    """What CBR knows the row by; empty where the row has no id that can be read."""
    return row.id if isinstance(row, UnreadableRow) else row_id(row)


@cache
def _reader(kind: "Descriptor") -> Callable[[Message], str]:
    """Reads what tells a row of that kind from the others."""
    names = identity(kind)
    if len(names) == 1:
        return attrgetter(names[0])
    return lambda row: "\0".join([getattr(row, name) for name in names])


@cache
def identity(row: "Descriptor") -> tuple[str, ...]:
    """Names of the text fields that make up a row's identity."""
    if "id" in row.fields_by_name:
        return ("id",)
    texts = [fd.name for fd in row.fields if fd.type == fd.TYPE_STRING and not fd.is_repeated]
    return tuple(name for name in texts if name == "key" or name.endswith("_id")) or tuple(
        texts[:1]
    )
