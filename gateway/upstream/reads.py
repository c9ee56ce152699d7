"""Reads: those of callers, cut to pages, and those of the gateway itself, of lists as a whole.

A read runs in the caller's own task and stops with it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.message import Message

from gateway.errors import UpstreamFacts
from gateway.upstream import attempts, marker, paging, read_back
from gateway.upstream.account import Account
from gateway.upstream.call_factory import CallFactory
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import Binding, OnBadRow
from gateway.upstream.end_errors import shutting_down
from gateway.upstream.lookup import Response
from gateway.upstream.ownership import Ownership
from gateway.upstream.page_tokens import PageTokens
from gateway.upstream.request_builder import http_request
from gateway.upstream.retry import READ_CAP_S, Deadline
from gateway.upstream.upstream_call import ReadBack, Reply
from gateway.upstream.values import Json
from gateway.upstream.waiting import Waits


class _Calls:
    """The calls that one read takes, one after the other. `clear` is done to each answer."""

    def __init__(
        self,
        factory: CallFactory,
        binding: Binding,
        request: Message,
        account: Account,
        deadline: Deadline,
        *,
        clear: Callable[[Message], None] | None = None,
    ) -> None:
        self._factory, self._binding, self._request = factory, binding, request
        self._account, self._deadline, self._clear = account, deadline, clear
        self.call = factory.make(binding, request, account, {})
        """The newest one."""
        self._first = True
        """It was not sent yet."""
        self._before: list[UpstreamFacts] = []
        self._received: int | None = 0

    async def read(self, extra: dict[str, Json], on_bad_row: OnBadRow | None = None) -> Message:
        """The answer to the next call.

        Raises GatewayError. `extra`: what is added to its query or body. `on_bad_row`: hears of
        each of its rows that cannot be understood.
        """
        if self.call.attempts:
            self._before.append(self.call.facts())
        if not self._first:
            self.call = self._factory.make(self._binding, self._request, self._account, extra)
        elif extra:
            members = {**extra, **self._binding.members(self._request)}
            self.call.request = http_request(self._binding, self._request, self._account, members)
        self._first = False
        self.call.on_bad_row = on_bad_row
        message = await attempts.carry_out(self.call, self._deadline, self._deadline)
        body = self.call.last.body
        self._received = self._received + len(body) if body and self._received is not None else None
        # What was read the fast way is still there as it came, and mostly has no mark.
        if self._clear is not None and not marker.surely_absent(body):
            self._clear(message)
        return message

    def received(self) -> int | None:
        """How many bytes of JSON all answers had; None: not all were read as they came."""
        return self._received

    def facts(self) -> UpstreamFacts:
        """What is known of all of them: attempts and time of all, else what the newest one says."""
        now = self.call.facts()
        if not self._before:
            return now
        all_of_them = (*self._before, now)
        return msgspec.structs.replace(
            now,
            attempts=sum(each.attempts for each in all_of_them),
            seconds=sum(each.seconds for each in all_of_them),
        )


class WholeReads:
    """What CBR shows to the gateway itself, whoever the objects belong to; a list as a whole."""

    def __init__(self, catalog: Catalog, factory: CallFactory) -> None:
        self._catalog = catalog
        self._factory = factory

    async def read(
        self, request: Message, response: type[Response], account: Account, deadline: Deadline
    ) -> Response:
        """The response to a read. Raises GatewayError."""
        shown = await self._read(self._catalog.asked_by(request), request, account, deadline)
        assert isinstance(shown, response)
        return shown

    async def _read(
        self, binding: Binding, request: Message, account: Account, deadline: Deadline
    ) -> Message:
        calls = _Calls(self._factory, binding, request, account, deadline)
        if not binding.paging:
            return await calls.read({})
        fit = self._factory.page_fit(binding, account)
        message: Message = await paging.whole(binding, calls.read, fit)
        return message

    def read_back(
        self, binding: Binding, request: Message, account: Account, end_by: Deadline
    ) -> ReadBack:
        """How to see whether an idempotent change is in force."""

        async def in_force() -> Message | None:
            read = self._catalog[binding.read_back]
            wanted = read_back.read_request(read, request)
            shown = await self._read(read, wanted, account, end_by)
            return read_back.settled(binding, read, request, shown)

        return in_force


class Reads:
    """The reads of callers."""

    def __init__(
        self, factory: CallFactory, ownership: Ownership, tokens: PageTokens, waits: Waits
    ) -> None:
        self._factory = factory
        self._ownership = ownership
        self._tokens = tokens
        self._waits = waits

    async def read(
        self,
        binding: Binding,
        request: Message,
        account: Account,
        scope: str,
        time_left_s: float | None,
        *,
        on_left: Callable[[UpstreamFacts], None] = lambda _facts: None,
        clear: Callable[[Message], None] | None = None,
        keep: Callable[[Any], bool] | None = None,
        sort: Callable[[list[Any]], list[Any]] | None = None,
        on_bad_row: OnBadRow | None = None,
    ) -> Reply:
        """What a read answers, cut to a page where it is a list.

        `scope` names the caller in page tokens; `time_left_s` is the caller's deadline. Raises
        GatewayError. `on_left` is told what is known when the caller leaves before there is an
        answer. `clear` is done to what CBR answers before it is cut to a page; with `keep` or
        `sort` a list is read whole, and cut of the rows that they want, in order. `on_bad_row`:
        hears of each row of a list that cannot be understood, which is then left out and counted.
        """
        deadline = Deadline.begin(self._factory.clock.monotonic(), time_left_s, READ_CAP_S)
        bounded = self._ownership.bounded(binding, request, account)
        page = None
        counts = binding.traits.counts
        if binding.paging and not (counts is not None and counts(bounded)):
            fit = self._factory.page_fit(binding, account)
            page = paging.plan_page(binding, bounded, self._tokens, scope, fit)
        calls = _Calls(self._factory, binding, bounded, account, deadline, clear=clear)
        try:
            with self._waits.begin(lambda: shutting_down(calls.call)):
                await self._ownership.check(binding, bounded, account, deadline)
                if page is None:
                    message = await calls.read({}, on_bad_row)
                elif (sieve := self._ownership.sieve(binding, account, keep)) is not None or sort:
                    message = await page.sifted(calls.read, sieve, on_bad_row, sort)
                else:
                    message = await page.fetch(calls.read, on_bad_row, calls.received)
        except asyncio.CancelledError:
            on_left(calls.facts())
            raise
        return Reply(message, calls.facts())
