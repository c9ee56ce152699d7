"""What exists upstream, read through the gateway's own client: whole lists, all pages or an
error.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from cbrgateway.v1 import errors_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2

from gateway.errors import GatewayError
from gateway.upstream.account import Account
from gateway.upstream.catalog import Catalog
from gateway.upstream.client import Client
from gateway.upstream.declaration import OnBadRow
from gateway.upstream.remote_clock import RemoteClock, Span
from gateway.upstream.rows import UnreadableRow, row_id
from gateway.upstream.shared_reads import SharedReads

_PAGE_SIZE: Final = 200
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

    async def read(self, rpc: str, project: str, fields: Mapping[str, object]) -> Any | None:  # noqa: ANN401 - the response of any read
        """The response; None when the object does not exist. Raises GatewayError."""
        try:
            return await self.answer(rpc, project, fields)
        except GatewayError as error:
            if error.code == code_pb2.NOT_FOUND:
                return None
            raise

    async def answer(
        self,
        rpc: str,
        project: str,
        fields: Mapping[str, object],
        on_bad_row: OnBadRow | None = None,
    ) -> Any:  # noqa: ANN401
        """The response of any read.

        Raises GatewayError, also when the object does not exist. `on_bad_row`: as for the client.
        """
        binding = self.catalog[rpc]
        return (
            await self._client.call(
                binding,
                binding.request_type(**fields),
                self.known(project),
                _SCOPE,
                None,
                on_bad_row=on_bad_row,
            )
        ).message

    async def rows(self, rpc: str, project: str, rows: str, **fields: object) -> list[Any]:
        """Every row of a list, once.

        Raises GatewayError when any page fails, or a row cannot be read: neither is a list without
        them.

        Those who ask at the same time may get the same rows: nobody changes them.
        """
        return await self._shared.answer(
            self._name("rows", rpc, project, fields),
            lambda: self._rows(rpc, project, rows, fields, None),
        )

    async def understood(
        self, rpc: str, project: str, rows: str, fields: Mapping[str, object]
    ) -> tuple[list[Any], bool]:
        """As `rows`, but without those that cannot be understood; and whether there were none."""

        async def read() -> tuple[list[Any], bool]:
            bad: list[UnreadableRow] = []
            found = await self._rows(rpc, project, rows, fields, bad.append)
            return found, not bad

        return await self._shared.answer(self._name("understood", rpc, project, fields), read)

    def _name(
        self, how: str, rpc: str, project: str, fields: Mapping[str, object]
    ) -> tuple[str, str, str, bytes]:
        return (
            how,
            rpc,
            project,
            self.catalog[rpc].request_type(**fields).SerializeToString(deterministic=True),
        )

    async def _rows(
        self,
        rpc: str,
        project: str,
        rows: str,
        fields: Mapping[str, object],
        on_bad_row: OnBadRow | None,
    ) -> list[Any]:
        found: dict[object, Any] = {}
        token = ""
        while True:
            page = await self.answer(
                rpc, project, {**fields, "page_size": _PAGE_SIZE, "page_token": token}, on_bad_row
            )
            if page.unreadable_rows and on_bad_row is None:
                text = (
                    "A row of a list of CBR cannot be read, so that nobody can say what the list"
                    " lacks; report it to the gateway's operator."
                )
                raise GatewayError(errors_pb2.ERROR_REASON_UPSTREAM_PROTOCOL, text)
            # While a list changes rows may be shown twice; the later one is the newer.
            found |= {
                row_id(row) or len(found) + index: row
                for index, row in enumerate(getattr(page, rows))
            }
            token = page.next_page_token
            if not token:
                return list(found.values())

    async def in_force(self, rpc: str, project: str, request: Message) -> Message | None:
        """The response that an idempotent change would have had, if it is in force.

        Raises GatewayError.
        """
        return await self._client.look(self.catalog[rpc], request, self.known(project))

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
                await self.read("TaskService/ListTasks", project, {"page_size": 1})
        return clock.now()

    def known(self, project: str) -> Account:
        """Raises KeyError for a project that this gateway does not serve any more."""
        account = self._account(project)
        if account is None:
            raise KeyError(project)
        return account


def unlisted(error: GatewayError) -> str:
    """Why a list of a project failed, and what to do, for the project's owner."""
    if error.code == code_pb2.NOT_FOUND:
        return (
            "CBR knows no such project at the region's endpoint; check the project's id and its"
            " region."
        )
    return error.message
