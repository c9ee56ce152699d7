"""Lists: page sizes, page tokens and the three ways in which CBR pages, behind one way for callers.

A token holds where the next page starts and the id of the last row seen. It is signed, so that a caller cannot make one up, and
bound to the tenant, project, RPC and filter. Pages by offset overlap by one row: if rows were inserted in front meanwhile, the rows
up to the last one seen are cut off instead of being shown twice. If more were inserted than a page holds, rows are shown twice
rather than left out.

Nothing here needs ids to be unique. The place in the list decides, and the id only tells how far rows have moved since; so a list that does not
change always ends, with every row once. Where CBR goes on after an id (its marker), and that id is empty, is that of the page before, or occurs
twice on its page, the rest of the list is read by offset.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from cbrgateway.v1 import errors_pb2, options_pb2
from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.errors import GatewayError, Violation
from gateway.seal import Seal
from gateway.upstream.declaration import Binding
from gateway.upstream.values import Json

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

DEFAULT_SIZE: Final = 50
MAX_SIZE: Final = 200
_SMALLER: Final[Mapping[str, int]] = {"ProtectabilityService/ListProtectables": 50}
"""The most rows per page where the vendor's manual promises fewer than MAX_SIZE."""
TOKEN_LIFE_S: Final = 72 * 3600
_SKEW_S: Final = 300
"""How far the clock of the replica that made a token may be ahead of ours."""
_OWNER_BYTES: Final = 16
_MAX_TOKEN_CHARS: Final = 2048


class Position(msgspec.Struct, array_like=True, frozen=True):
    """Where a page starts: the place after the last row seen, that row's id, when the token was made, and what it belongs to.

    The id is empty where a list that CBR pages by marker has to go on by offset.
    """

    seen: int = 0
    last_id: str = ""
    made: int = 0
    binding: bytes = b""


class PageTokens:
    """Makes and reads tokens. `key`: secret shared by all replicas."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._seal = Seal(key, "page")
        self._clock = clock

    def read(self, token: str, owner: bytes) -> Position:
        """The position of a token; the start for an empty one. Raises PAGE_TOKEN_MISMATCH."""
        if not token:
            return Position()
        payload = self._seal.read(token[:_MAX_TOKEN_CHARS])
        if payload is None:
            raise _mismatch("is not a token of this gateway; pass next_page_token on unchanged")
        position = msgspec.msgpack.decode(payload, type=Position)
        if position.binding != owner:
            raise _mismatch("belongs to another list, tenant or filter; start again without a token")
        if not -_SKEW_S <= self._clock.time() - position.made <= TOKEN_LIFE_S:
            raise _mismatch("has expired after 72 hours; start again without a token")
        return position

    def make(self, seen: int, last_id: str, owner: bytes) -> str:
        return self._seal.write(msgspec.msgpack.encode(Position(seen, last_id, int(self._clock.time()), owner)))


def _mismatch(text: str) -> GatewayError:
    violation = Violation("page_token", text, "page_token")
    return GatewayError(errors_pb2.ERROR_REASON_PAGE_TOKEN_MISMATCH, f"page_token: {text}", violations=(violation,))


def owner_of(binding: Binding, request: Message, scope: str) -> bytes:
    """What a token is bound to: the RPC, who calls, and the request without its paging fields. The page size may change between pages."""
    bare = binding.request_type()
    bare.CopyFrom(request)
    for name in ("page_size", "page_token"):
        bare.ClearField(name)
    material = f"{binding.rpc}\0{scope}\0".encode() + bare.SerializeToString(deterministic=True)
    return hashlib.sha256(material).digest()[:_OWNER_BYTES]


@dataclass(frozen=True, slots=True)
class Page:
    """One page to read: `ask` is added to the query or body of the call, `cut` finishes the answer."""

    ask: dict[str, Json]
    cut: Callable[[Message], Message]


def plan_page(binding: Binding, request: Any, tokens: PageTokens, scope: str, *, sliced: bool = False) -> Page:  # noqa: ANN401 - any list request
    """What to ask CBR for, and how to make the response of its answer. Raises PAGE_TOKEN_MISMATCH.

    `sliced`: the answer will be the whole list, whatever way CBR pages it.
    """
    kind = options_pb2.PAGING_SLICED if sliced else binding.paging
    owner = owner_of(binding, request, scope)
    position = tokens.read(request.page_token, owner)
    size = min(request.page_size or DEFAULT_SIZE, max_size(binding.rpc))
    rows_name = rows_field(binding)

    def cut(response: Any) -> Message:  # noqa: ANN401 - any list response
        rows = getattr(response, rows_name)
        received = len(rows)
        if kind == options_pb2.PAGING_SLICED:
            total = received
            if "total_size" in response.DESCRIPTOR.fields_by_name:
                response.total_size = total
        else:
            total = response.total_size
        start = _start(kind, position)
        skip = _already_seen(rows, position, start)
        del rows[:skip]
        more_received = len(rows) > size
        last_id = _next_id(kind, rows[:size], position)
        del rows[size:]
        seen = start + skip + len(rows)
        more = more_received or (seen < total if total else received >= size)
        if kind == options_pb2.PAGING_MARKER:
            # The total shrinks when rows of earlier pages are deleted, so it cannot say that a full page was the last one.
            more = more or received >= size
        if more and (rows or seen > position.seen):
            # A page may be empty: so many rows were inserted in front that this window held nothing new.
            response.next_page_token = tokens.make(seen, last_id, owner)
        answer: Message = response
        return answer

    return Page(_ask(kind, position, size), cut)


def rows_field(binding: Binding) -> str:
    """Name of the field that holds the rows of a list's response."""
    return next(f.name for f in binding.descriptor.output_type.fields if f.is_repeated and f.message_type)


def max_size(rpc: str) -> int:
    """The most rows on one page of a list; larger page sizes count as this one."""
    return _SMALLER.get(rpc, MAX_SIZE)


def _start(paging: int, position: Position) -> int:
    """The place in CBR's list of the first row that it answers."""
    if paging == options_pb2.PAGING_SLICED:
        return 0
    return position.seen if paging == options_pb2.PAGING_MARKER else max(position.seen - 1, 0)


def _ask(paging: int, position: Position, size: int) -> dict[str, Json]:
    if paging == options_pb2.PAGING_SLICED:
        return {}
    if paging == options_pb2.PAGING_MARKER:
        if position.last_id:
            return {"limit": size, "marker": position.last_id}
        return {"limit": size} | ({"offset": position.seen} if position.seen else {})
    window = {"limit": size + 1, "offset": _start(paging, position)} if position.seen else {"limit": size}
    return {name: str(value) for name, value in window.items()} if paging == options_pb2.PAGING_OFFSET_IN_BODY else dict(window)


def _already_seen(rows: Sequence[Message], position: Position, start: int) -> int:
    """How many leading rows were on earlier pages. `start`: the place of the first one."""
    if start == position.seen:
        return 0
    expected = position.seen - 1 - start
    # The nearest row with the id of the last one seen: ids may occur more than once.
    for index in sorted(range(len(rows)), key=lambda index: abs(index - expected)):
        if row_id(rows[index]) == position.last_id:
            return index + 1
    # The last row seen is gone, so the next one has taken its place.
    return min(expected, len(rows))


def _next_id(paging: int, rows: Sequence[Message], position: Position) -> str:
    """The id to put into the token of the page after `rows`."""
    if paging != options_pb2.PAGING_MARKER:
        return row_id(rows[-1]) if rows else position.last_id
    by_offset = position.seen > 0 and not position.last_id
    ids = [row_id(row) for row in rows]
    # CBR would go on after the first row with an id that occurs twice, and read the same rows for ever.
    return "" if by_offset or not ids or ids.count(ids[-1]) > 1 or ids[-1] == position.last_id else ids[-1]


def row_id(row: Message) -> str:
    """What tells a row from the others: its `id`, else all of its keys together, else its first field."""
    return "\0".join(getattr(row, name) for name in _identity(cast("Descriptor", row.DESCRIPTOR)))


@cache
def _identity(row: "Descriptor") -> tuple[str, ...]:
    """Names of the text fields that make up a row's identity."""
    if "id" in row.fields_by_name:
        return ("id",)
    texts = [fd.name for fd in row.fields if fd.type == fd.TYPE_STRING and not fd.is_repeated]
    return tuple(name for name in texts if name == "key" or name.endswith("_id")) or tuple(texts[:1])
