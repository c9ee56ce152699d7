"""What exists upstream, read through the gateway's own client: whole lists, or an error."""

import asyncio
import contextlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

from cbrgateway.v1 import errors_pb2, task_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2
from msgspec import Struct, field

from gateway.errors import GatewayError
from gateway.upstream.account import Account
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.upstream.declaration import OnBadRow
from gateway.upstream.remote_clock import RemoteClock, Span
from gateway.upstream.rows import UnreadableRow, row_id
from gateway.upstream.shared_reads import SharedReads
from gateway.upstream.wire import rows_field

Response = TypeVar("Response", bound=Message)
Row = TypeVar("Row", bound=Message)

_PAGE_SIZE: Final = 200
_AT_ONCE: Final = 8
"""Reads for one change."""
_SCOPE: Final = "gateway/itself"


class UpstreamReader:
    """Reads as the gateway itself, for no caller.

    `account`: from a project's id to the way into it, None for projects that are gone.
    """

    def __init__(
        self, catalog: Catalog, client: Client, account: Callable[[str], Account | None]
    ) -> None:
        self.catalog = catalog
        self._client = client
        self._account = account
        self._shared = SharedReads()

    async def read(
        self, request: Message, response: type[Response], project: str
    ) -> Response | None:
        """The response to a read; None when the object does not exist. Raises GatewayError."""
        try:
            return await self.answer(request, response, project)
        except GatewayError as error:
            if error.code == code_pb2.NOT_FOUND:
                return None
            raise

    async def answer(
        self,
        request: Message,
        response: type[Response],
        project: str,
        on_bad_row: OnBadRow | None = None,
    ) -> Response:
        """The response to a read.

        Raises GatewayError, also when the object does not exist. `on_bad_row`: as for the client.
        """
        reply = await self._client.read(
            self.catalog.asked_by(request),
            request,
            self.known(project),
            _SCOPE,
            None,
            on_bad_row=on_bad_row,
        )
        assert isinstance(reply.message, response)
        return reply.message

    async def rows(self, request: Message, row: type[Row], project: str) -> list[Row]:
        """Every row of a list, once.

        Raises GatewayError when any page fails, or a row cannot be read: neither is a list without
        them.

        Those who ask at the same time may get the same rows: nobody changes them.
        """
        return await self._shared.answer(
            _name("rows", request, project), lambda: self._rows(request, row, project, None)
        )

    async def understood(
        self, request: Message, row: type[Row], project: str
    ) -> tuple[list[Row], bool]:
        """As `rows`, but without those that cannot be understood; and whether there were none."""

        async def read() -> tuple[list[Row], bool]:
            bad: list[UnreadableRow] = []
            found = await self._rows(request, row, project, bad.append)
            return found, not bad

        return await self._shared.answer(_name("understood", request, project), read)

    async def _rows(
        self, request: Message, row: type[Row], project: str, on_bad_row: OnBadRow | None
    ) -> list[Row]:
        binding = self.catalog.asked_by(request)
        rows = rows_field(binding.descriptor.output_type)
        asked: Any = type(request)()
        asked.CopyFrom(request)
        asked.page_size = _PAGE_SIZE
        found: dict[object, Row] = {}
        while True:
            page: Any = await self.answer(asked, binding.response_type, project, on_bad_row)
            if page.unreadable_rows and on_bad_row is None:
                text = (
                    "A row of a list of CBR cannot be read, so that nobody can say what the list"
                    " lacks; report it to the gateway's operator."
                )
                raise GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)
            # While a list changes rows may be shown twice; the later one is the newer.
            for each in getattr(page, rows):
                assert isinstance(each, row)
                found[row_id(each) or len(found)] = each
            asked.page_token = page.next_page_token
            if not asked.page_token:
                return list(found.values())

    async def in_force(self, request: Message, project: str) -> Message | None:
        """The response that an idempotent change would have had, if it is in force.

        Raises GatewayError.
        """
        return await self._client.in_force(
            self.catalog.asked_by(request), request, self.known(project)
        )

    def clock(self, project: str) -> RemoteClock:
        """CBR's clock, as the project sees it. Raises KeyError as `known`."""
        return self._client.remote_clock(self.known(project).endpoint)

    async def time(self, project: str) -> Span | None:
        """CBR's time now; where it is not known yet, CBR is asked for something.

        Raises KeyError as `known`.
        """
        clock = self.clock(project)
        if clock.now() is None:
            with contextlib.suppress(GatewayError):
                one = task_pb2.ListTasksRequest(page_size=1)
                await self.read(one, task_pb2.ListTasksResponse, project)
        return clock.now()

    def known(self, project: str) -> Account:
        """Raises KeyError for a project that this gateway does not serve any more."""
        account = self._account(project)
        if account is None:
            raise KeyError(project)
        return account


class ProjectReads(Struct, frozen=True):
    """The reads for one change, as traits ask for them (look.py): each object is read once."""

    reader: UpstreamReader
    project: str
    _shown: dict[Hashable, Message] = field(default_factory=dict)

    @property
    def project_id(self) -> str:
        return self.reader.known(self.project).project_id

    def region_of(self, project_id: str) -> str:
        there = self.reader.known(self.project).of_tenant(project_id)
        return there.region if there is not None else ""

    @property
    def shown(self) -> list[Message]:
        """The objects that were looked at."""
        return [*self._shown.values()]

    async def answer(self, request: Message, response: type[Response]) -> Response:
        name = _name("answer", request, self.project)
        if name not in self._shown:
            self._shown[name] = await self.reader.answer(request, response, self.project)
        found = self._shown[name]
        assert isinstance(found, response)
        return found

    async def answers(
        self, requests: Sequence[Message], response: type[Response]
    ) -> list[Response]:
        found: list[Response] = []
        for start in range(0, len(requests), _AT_ONCE):
            some = (self.answer(each, response) for each in requests[start : start + _AT_ONCE])
            for each in await asyncio.gather(*some, return_exceptions=True):
                if isinstance(each, BaseException):
                    raise each
                found.append(each)
        return found

    async def rows(self, request: Message, row: type[Row]) -> list[Row]:
        return await self.reader.rows(request, row, self.project)

    async def now(self) -> Span | None:
        return await self.reader.time(self.project)


def _name(how: str, request: Message, project: str) -> tuple[str, str, str, bytes]:
    """Of what is read, for all who ask for it."""
    asked = request.SerializeToString(deterministic=True)
    return how, request.DESCRIPTOR.full_name, project, asked


def unlisted(error: GatewayError) -> str:
    """Why a list of a project failed, and what to do, for the project's owner."""
    if error.code == code_pb2.NOT_FOUND:
        return (
            "CBR knows no such project at the region's endpoint; check the project's id and its"
            " region."
        )
    return error.message
