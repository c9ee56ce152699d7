"""Lists: page sizes and the ways in which CBR pages, behind one way for callers.

A token (page_tokens.py) holds where the next page starts: marks of the rows shown last, by which
the place is found again although rows were deleted or inserted (walk.py).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from operator import is_
from typing import Any, Final

from cbrgateway.v1 import options_pb2
from google.protobuf.message import Message
from msgspec import Struct

from gateway.errors import AnswerTooLarge, GatewayError
from gateway.upstream.declaration import Binding, OnBadRow
from gateway.upstream.ends import is_unpaged
from gateway.upstream.page_fits import MAX_REQUESTS, Fit
from gateway.upstream.page_tokens import PageTokens, owner_of
from gateway.upstream.place import Place, Step, rest
from gateway.upstream.rows import Row, UnreadableRow, in_order, readable
from gateway.upstream.values import Json
from gateway.upstream.walk import everything, step
from gateway.upstream.ways import WAYS
from gateway.upstream.windows import Source, Window
from gateway.upstream.wire import UNREADABLE_ROWS, rows_field

DEFAULT_SIZE: Final = 50
MAX_SIZE: Final = 200
_MOST: Final = 1000
"""The most rows that CBR answers at once, mostly."""
_MAX_BYTES: Final = 3 * 1024 * 1024
"""Of the rows on one page: with the rest of an answer less than the 4 MiB that clients take."""
_MOST_PER_BYTE: Final = 8
"""Bytes of a message for one of the JSON that it was read from: in the worst case, a list of digits
that no field is for, 5.5.
"""
_ROW_OVERHEAD: Final = 8
"""Bytes at most that a row takes besides its own: the field's number and its length."""


ReadOne = Callable[[dict[str, Json], OnBadRow], Awaitable[Any]]
"""Makes one call of a list to CBR; takes what is added to its query or body, and who hears of the
rows that the response lacks.
"""


class Page(Struct, frozen=True):
    """One page for a caller."""

    binding: Binding
    place: Place
    size: int
    token: Callable[[Place], str]
    fit: Fit
    owner: bytes

    async def fetch(
        self,
        read: ReadOne,
        on_bad_row: OnBadRow | None = None,
        received: Callable[[], int | None] = lambda: None,
    ) -> Message:
        """Read from CBR, by as few calls as it takes.

        Raises GatewayError. `on_bad_row`: hears of rows that cannot be understood. `received`: how
        many bytes of JSON all calls brought together; None: nobody knows.
        """
        if self.binding.paging == options_pb2.PAGING_SLICED:
            return await self.sifted(read, None, on_bad_row)
        reader = _Reader(self.binding, read, self.fit, on_bad_row, self.owner)
        found = await step(_source(self.binding, reader, self.fit), self.place, self.size)
        json_bytes = received()
        fits = json_bytes is not None and json_bytes * _MOST_PER_BYTE <= _MAX_BYTES
        return self._filled(reader.last, found, self._known_total(found), fits=fits)

    def _known_total(self, found: Step) -> int | None:
        """The rows of the whole list, unless they were counted as if it ended where it does not."""
        shown, total = self.place.trail.shown + len(found.rows), found.total
        if total is None or self.fit.count.of_list or total > shown:
            return total
        return total if found.ended and total == shown else None

    async def sifted(
        self,
        read: ReadOne,
        keep: Callable[[Any], bool] | None,
        on_bad_row: OnBadRow | None = None,
        sort: Callable[[list[Any]], list[Any]] | None = None,
    ) -> Message:
        """Cut out of those rows of the whole list that are to be kept; of one that cannot be read
        nobody knows whether it is. `keep`: None for all. `sort`: puts the others in order, and
        before those.
        """
        reader = _Reader(self.binding, read, self.fit, on_bad_row, self.owner)
        rows = await reader.all()
        if keep is not None:
            rows = [row for row in rows if isinstance(row, UnreadableRow) or keep(row)]
        if sort is not None:
            bad = [row for row in rows if isinstance(row, UnreadableRow)]
            rows = [*sort(list(readable(rows))), *bad]
        found = rest(rows, self.place, self.size, of_cbr=True, in_order=sort is None)
        return self._filled(reader.last, found, len(readable(rows)))

    def cut(self, everything: Any) -> Message:  # noqa: ANN401 - any list response
        """Cut out of a response that holds all rows."""
        rows = list(getattr(everything, rows_field(self.binding.descriptor.output_type)))
        return self._filled(everything, rest(rows, self.place, self.size), len(rows))

    async def kept(
        self,
        response: Any,  # noqa: ANN401 - any message
        rows: Callable[[str], AsyncIterator[tuple[str, Message]]],
    ) -> Message:
        """Put into a response, of rows that the gateway keeps itself: `rows` tells them, each with
        its position, from behind a position on.

        The first page counts them all; the next ones say what was counted, and read no more than
        they show.
        """
        counted, _, position = str(self.place.cursor).partition(" ")
        found: list[tuple[str, Message]] = []
        async for each in rows(position):
            found.append(each)
            if position and len(found) > self.size:
                break
        total, shown = int(counted) if position else len(found), found[: self.size]
        _fill(response, self.binding, [row for _, row in shown], total)
        if len(found) > self.size:
            response.next_page_token = self.token(Place(cursor=f"{total} {shown[-1][0]}"))
        answer: Message = response
        return answer

    def _filled(
        self,
        response: Any,  # noqa: ANN401 - any list response
        found: Step,
        total: int | None,
        *,
        fits: bool = False,
    ) -> Message:
        _fill(response, self.binding, found.rows, total)
        # To measure a message takes as long as to write it.
        if not fits and response.ByteSize() > _MAX_BYTES:
            found = found.first(_fitting(found.rows))
            _fill(response, self.binding, found.rows, total)
        response.ClearField("next_page_token")
        if not found.ended:
            response.next_page_token = self.token(found.place(self.place.trail))
        answer: Message = response
        return answer


def plan_page(
    binding: Binding,
    request: Any,  # noqa: ANN401 - any list request
    tokens: PageTokens,
    scope: str,
    fit: Fit | None = None,
) -> Page:
    """The page that a request asks for. Raises PAGE_TOKEN_MISMATCH."""
    owner = owner_of(binding, request, scope)
    place = tokens.read(request.page_token, owner).place
    size = min(request.page_size or DEFAULT_SIZE, max_size(binding))
    return Page(binding, place, size, lambda after: tokens.make(after, owner), fit or Fit(), owner)


async def whole(binding: Binding, read: ReadOne, fit: Fit | None = None) -> Any:  # noqa: ANN401 - any list response
    """All rows of a list in one response. Raises GatewayError."""
    reader = _Reader(binding, read, fit or Fit())
    rows = await reader.all()
    _fill(reader.last, binding, rows, len(readable(rows)))
    return reader.last


def _fitting(rows: Sequence[Row]) -> int:
    """How many of the first rows one answer takes; one in any case."""
    taken = 0
    for index, row in enumerate(rows):
        taken += 0 if isinstance(row, UnreadableRow) else row.ByteSize() + _ROW_OVERHEAD
        if taken > _MAX_BYTES and index:
            return index
    return len(rows)


def _fill(response: Any, binding: Binding, rows: Sequence[Row], total: int | None) -> None:  # noqa: ANN401 - any list response
    kept, wanted = getattr(response, rows_field(binding.descriptor.output_type)), readable(rows)
    # Mostly they are its own rows already; to put them in again would copy each of them.
    if len(kept) != len(wanted) or not all(map(is_, kept, wanted)):
        del kept[:]
        kept.extend(wanted)
    if UNREADABLE_ROWS in response.DESCRIPTOR.fields_by_name:
        response.unreadable_rows = len(rows) - len(kept)
    if "total_size" in response.DESCRIPTOR.fields_by_name:
        response.ClearField("total_size")
        if total is not None:
            response.total_size = total


class _Reader:
    """Reads windows of one list. `last`: the newest response, for what it says beside its rows.

    `owner`: what was asked for; empty where counts of the same are not compared.
    """

    def __init__(
        self,
        binding: Binding,
        read: ReadOne,
        fit: Fit,
        on_bad_row: OnBadRow | None = None,
        owner: bytes = b"",
    ) -> None:
        self._binding, self._read, self._fit, self._on_bad_row = binding, read, fit, on_bad_row
        self._owner = owner
        self._rows = rows_field(binding.descriptor.output_type)
        in_body = binding.paging == options_pb2.PAGING_OFFSET_IN_BODY
        self._form: Callable[..., dict[str, Json]] = _texts if in_body else dict
        self.last: Any = None

    async def all(self) -> list[Row]:
        """Every row of the list."""
        source = _source(self._binding, self, self._fit)
        if self._binding.paging == options_pb2.PAGING_SLICED:
            shown = await self({})
            if await is_unpaged(source, shown):
                return list(shown.rows)
        return await everything(source)

    async def __call__(self, ask: dict[str, int | str]) -> Window:
        bad: list[UnreadableRow] = []
        response, limit = await self._window(ask, bad.append)
        self.last = response
        if self._on_bad_row is not None:
            for row in bad:
                self._on_bad_row(row)
        rows = in_order(getattr(response, self._rows), bad)
        counted = (
            "total_size" in response.DESCRIPTOR.fields_by_name
            and response.HasField("total_size")
            and response.total_size >= 0
        )
        total = response.total_size if counted else None
        if self._owner and total and "offset" not in ask and "marker" not in ask and limit != 1:
            kept = self._fit.counted
            # Fewer than last time, and no more than these: they may be those of the page by now.
            if len(rows) == total < kept.get(self._owner, 0):
                self._fit.count.look_again()
            if len(kept) >= MAX_REQUESTS:
                kept.clear()
            kept[self._owner] = total
        return Window(rows, total, limit)

    async def _window(
        self, ask: dict[str, int | str], on_bad_row: OnBadRow
    ) -> tuple[Any, int | None]:
        """The answer, and how many rows were asked for in the end: of rows that are too large
        together, fewer at once; of one that is too large alone, an answer without it.
        """
        while True:
            limited = (
                ask
                if self._fit.most is None or "limit" not in ask
                else ask | {"limit": min(int(ask["limit"]), self._fit.most)}
            )
            limit = int(limited["limit"]) if "limit" in limited else None
            try:
                return await self._read(self._form(limited), on_bad_row), limit
            except AnswerTooLarge as error:
                if limit is None:
                    raise
                if limit > 1:
                    self._fit.too_many(limit)
                    continue
                if not await self._passes(ask):
                    raise _row_too_large(ask, error) from None
                place = f"at offset {ask.get('offset', 0)}"
                on_bad_row(UnreadableRow(0, "", "is larger than an answer may be", place))
                return self._binding.response_type(), limit

    async def _passes(self, ask: dict[str, int | str]) -> bool:
        """Whether it is one row alone that is too large: the one behind it can be asked for."""
        if "marker" in ask:
            return False
        bad: list[UnreadableRow] = []
        try:
            one = {"limit": 1, "offset": int(ask.get("offset", 0)) + 1}
            after = await self._read(self._form(one), bad.append)
        except AnswerTooLarge:
            return False
        return len(getattr(after, self._rows)) + len(bad) <= 1


def _texts(ask: dict[str, int | str]) -> dict[str, Json]:
    return {name: str(value) for name, value in ask.items()}


def _row_too_large(ask: dict[str, int | str], error: AnswerTooLarge) -> GatewayError:
    """Says which row it is, as far as that is known."""
    place = f"behind {ask['marker']}" if "marker" in ask else f"at offset {ask.get('offset', 0)}"
    text = f"One row of the list, {place}, is larger than an answer may be. {error.message}"
    return GatewayError(error.reason, text, upstream=error.upstream)


def _source(binding: Binding, read: _Reader, fit: Fit) -> Source:
    ways = len(WAYS) if binding.paging == options_pb2.PAGING_MARKER else len(WAYS) - 1
    usual = max_size(binding)
    return Source(read, ways, usual, most=binding.max_rows or _MOST, count=fit.count)


def max_size(binding: Binding) -> int:
    """The most rows on one page of a list; larger page sizes count as this one."""
    return min(binding.max_rows or MAX_SIZE, MAX_SIZE)
