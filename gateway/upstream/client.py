"""Carries out any bound RPC against CBR: `Client.call(binding, request, account)`.

A read runs in the caller's own task and stops with it. A change runs in a task of its own: a caller
that goes away, or whose time is up, stops waiting; the change itself is seen through, because only
then is it known what became of it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import structlog
from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.errors import GatewayError, UpstreamFacts
from gateway.upstream import paging, read_back, replaced
from gateway.upstream.account import Account
from gateway.upstream.breakers import Breakers
from gateway.upstream.budget import Budgets
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import IN_BODY, Binding, OnBadRow, RetryClass, query_pairs
from gateway.upstream.exchange import ChangeObserver, ChangeResult, Exchange, ReadBack, Route
from gateway.upstream.http import HttpRequest
from gateway.upstream.keyed_lock import KeyedLock
from gateway.upstream.lookup import Response
from gateway.upstream.ownership import Ownership
from gateway.upstream.quoting import encoded
from gateway.upstream.remote_clock import RemoteClock
from gateway.upstream.retry import MUTATION_CAP_S, READ_CAP_S, Deadline
from gateway.upstream.shares import Shares
from gateway.upstream.target import Target
from gateway.upstream.values import Json
from gateway.upstream.waiting import Waits

OPERATION_CAP_S: Final = 60.0
"""How long a change is seen through once it has been sent."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reply:
    """The response and what it took."""

    message: Message
    upstream: UpstreamFacts


class _Reads:
    """The calls that one read takes, one after the other.

    `start` begins one with what is added to its query or body; `clear` is done to each.
    """

    def __init__(
        self,
        start: Callable[[dict[str, Json]], Exchange],
        deadline: Deadline,
        clear: Callable[[Message], None] = lambda _answer: None,
    ) -> None:
        self._start, self._deadline, self._clear = start, deadline, clear
        self.exchange = start({})
        """The newest one."""
        self._first = True
        """It was not sent yet."""
        self._before: list[UpstreamFacts] = []

    async def read(self, extra: dict[str, Json], on_bad_row: OnBadRow | None = None) -> Message:
        """The answer to the next call.

        Raises GatewayError. `on_bad_row`: hears of each of its rows that cannot be understood.
        """
        if self.exchange.attempts:
            self._before.append(self.exchange.facts())
        if extra or not self._first:
            self.exchange = self._start(extra)
        self._first = False
        self.exchange.on_bad_row = on_bad_row
        message = await self.exchange.run(self._deadline, self._deadline)
        self._clear(message)
        return message

    def facts(self) -> UpstreamFacts:
        """What is known of all of them: the attempts and the time of all, else what the newest one
        says.
        """
        now = self.exchange.facts()
        if not self._before:
            return now
        all_of_them = (*self._before, now)
        return replace(
            now,
            attempts=sum(each.attempts for each in all_of_them),
            seconds=sum(each.seconds for each in all_of_them),
        )

    def shutting_down(self) -> GatewayError:
        return self.exchange.shutting_down()


class Client:
    """The calling side of the process. One per process.

    At the end of the process: `release` answers those who still wait, `aclose` then waits for the
    changes under way.
    """

    def __init__(
        self,
        catalog: Catalog,
        shares: Shares,
        breakers: Breakers,
        tokens: paging.PageTokens,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._shares = shares
        self._breakers = breakers
        self._tokens = tokens
        self._clock = clock
        self._budgets = Budgets()
        self._remote_clocks: dict[str, RemoteClock] = {}
        self._changes: set[asyncio.Task[Message]] = set()
        self._late: set[asyncio.Future[None]] = set()
        self._changing = KeyedLock()
        self._ownership = Ownership(self._read)
        self._waits = Waits()
        self._routes: dict[tuple[str, str, str], Route] = {}
        self.released = False

    async def call(
        self,
        binding: Binding,
        request: Message,
        account: Account,
        scope: str,
        time_left_s: float | None,
        *,
        on_left: Callable[[UpstreamFacts], None] = lambda _facts: None,
        clear: Callable[[Message], None] = lambda _answer: None,
        keep: Callable[[Any], bool] | None = None,
        observers: Sequence[ChangeObserver] = (),
        recognised: bool = False,
        on_bad_row: OnBadRow | None = None,
    ) -> Reply:
        """Carries out one RPC.

        `scope` names the caller in page tokens; `time_left_s` is the caller's deadline. Raises
        GatewayError.

        `on_left` is told what is known when the caller leaves before there is an answer. `clear` is
        done to what a read answers before it is cut to a page; with `keep` a list is read whole,
        and cut of the rows that it wants. `observers` hear of a change, in their order; the
        `on_end` of each is called exactly once, whatever happens. `recognised`: a repeat of the
        call would be recognised as one. `on_bad_row`: hears of each row of a list that cannot be
        understood, which is then left out and counted.
        """
        now = self._clock.monotonic()
        if binding.reads:
            deadline = Deadline.begin(now, time_left_s, READ_CAP_S)
            return await self._reply(
                binding,
                request,
                account,
                scope,
                deadline,
                on_left=on_left,
                clear=clear,
                keep=keep,
                on_bad_row=on_bad_row,
            )
        start_by = Deadline.begin(now, time_left_s, MUTATION_CAP_S)
        end_by = Deadline.begin(now, None, OPERATION_CAP_S)
        try:
            request = self._ownership.bounded(binding, request, account)
            looks = (
                self._reader(binding, request, account, end_by)
                if binding.retry_class is RetryClass.CONVERGE
                else None
            )
            exchange = self._admitted(self._exchange(binding, request, account, {}, looks))
        except GatewayError:
            for observer in observers:
                await observer.on_end(ChangeResult.NOTHING, None, UpstreamFacts())
            raise
        exchange.observers, exchange.recognised = observers, recognised
        try:
            with self._waits.begin(exchange.shutting_down):
                message = await self._see_through(
                    exchange,
                    lambda: self._change(exchange, request, account, start_by, end_by),
                    start_by,
                )
        except asyncio.CancelledError:
            on_left(exchange.facts())
            raise
        return Reply(message, exchange.facts())

    async def _reply(
        self,
        binding: Binding,
        request: Message,
        account: Account,
        scope: str,
        deadline: Deadline,
        *,
        on_left: Callable[[UpstreamFacts], None],
        clear: Callable[[Message], None],
        keep: Callable[[Any], bool] | None,
        on_bad_row: OnBadRow | None,
    ) -> Reply:
        """What a read answers, cut to a page where it is a list."""
        bounded = self._ownership.bounded(binding, request, account)
        page = paging.plan_page(binding, bounded, self._tokens, scope) if binding.paging else None

        reads = _Reads(
            lambda extra: self._exchange(binding, bounded, account, extra, None), deadline, clear
        )
        self._admitted(reads.exchange)
        try:
            with self._waits.begin(reads.shutting_down):
                await self._ownership.check(binding, bounded, account, deadline)
                if page is None:
                    message = await reads.read({}, on_bad_row)
                elif (sieve := self._ownership.sieve(binding, account, keep)) is not None:
                    message = await page.sifted(reads.read, sieve, on_bad_row)
                else:
                    message = await page.fetch(reads.read, on_bad_row)
        except asyncio.CancelledError:
            on_left(reads.facts())
            raise
        return Reply(message, reads.facts())

    async def _read(
        self, request: Message, response: type[Response], account: Account, deadline: Deadline
    ) -> Response:
        """What CBR shows to the gateway itself, whoever the objects belong to; a list as a
        whole.
        """
        shown = await self._whole(self._catalog.asked_by(request), request, account, deadline)
        assert isinstance(shown, response)
        return shown

    async def _whole(
        self, binding: Binding, request: Message, account: Account, deadline: Deadline
    ) -> Message:
        reads = _Reads(
            lambda extra: self._exchange(binding, request, account, extra, None), deadline
        )
        message: Message = await (
            paging.whole(binding, reads.read) if binding.paging else reads.read({})
        )
        return message

    async def look(self, binding: Binding, request: Message, account: Account) -> Message | None:
        """The response that an idempotent change would have had, if it is in force now; else None.

        Raises GatewayError.
        """
        end_by = Deadline.begin(self._clock.monotonic(), None, READ_CAP_S)
        return await self._reader(binding, request, account, end_by)()

    def remote_clock(self, endpoint: str) -> RemoteClock:
        """CBR's time at an endpoint."""
        clock = self._remote_clocks.get(endpoint)
        if clock is None:
            clock = self._remote_clocks[endpoint] = RemoteClock(self._clock)
        return clock

    def times(self) -> list[float]:
        """CBR's time at each endpoint where it is known, at the earliest: seconds since 1970."""
        return [
            now.earliest
            for clock in self._remote_clocks.values()
            if (now := clock.now()) is not None
        ]

    def release(self) -> None:
        """Ends every call that waits, and every later one, with what can be said now; changes that
        CBR may have begun go on.
        """
        self.released = True
        self._waits.end()

    async def aclose(self, grace_s: float) -> None:
        """Waits for the changes under way, at most `grace_s`; each that remains is cut, with a line
        in the log.
        """
        self.release()
        if self._changes:
            _, late = await asyncio.wait(self._changes, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        if self._late:
            await asyncio.wait(self._late)

    def _admitted(self, exchange: Exchange) -> Exchange:
        if self.released:
            raise exchange.shutting_down()
        return exchange

    def _exchange(
        self,
        binding: Binding,
        request: Message,
        account: Account,
        extra: dict[str, Json],
        looks: ReadBack | None,
    ) -> Exchange:
        target = Target(
            account.endpoint,
            account.tenant,
            account.project_id,
            binding.operation,
            _objects(binding, request),
        )
        return Exchange(
            binding=binding,
            message=request,
            request=_http_request(binding, request, account, extra | binding.members(request)),
            project_id=account.project_id,
            target=target,
            route=self._route(account),
            breakers=self._breakers,
            budget=self._budgets.of(target),
            read_back=looks,
        )

    def _route(self, account: Account) -> Route:
        """Made once for each account, and anew when a reload has changed its credential."""
        key = (account.endpoint, account.tenant, account.project_id)
        known = self._routes.get(key)
        if known is None or known.auth is not account.auth:
            share = self._shares.of(account.endpoint, account.tenant)
            known = Route(share, account.auth, self._clock, self.remote_clock(account.endpoint))
            self._routes[key] = known
        return known

    def _reader(
        self, binding: Binding, request: Message, account: Account, end_by: Deadline
    ) -> ReadBack:
        async def look() -> Message | None:
            read = self._catalog[binding.read_back]
            shown = await self._whole(read, read_back.read_request(read, request), account, end_by)
            return read_back.settled(binding, read, request, shown)

        return look

    async def _see_through(
        self, exchange: Exchange, change: Callable[[], Awaitable[Message]], start_by: Deadline
    ) -> Message:
        """The change's response, or an error as soon as the caller's time is up, while the change
        goes on.
        """
        task = asyncio.create_task(exchange.observed(change))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        try:
            done, _ = await asyncio.wait(
                {task}, timeout=max(0.0, start_by.left_s(self._clock.monotonic()))
            )
        except asyncio.CancelledError:
            self._abandon(task, exchange)
            raise
        if done:
            return task.result()
        self._abandon(task, exchange)
        raise exchange.outcome_unknown() if exchange.in_doubt else exchange.too_late()

    async def _change(
        self,
        exchange: Exchange,
        request: Message,
        account: Account,
        start_by: Deadline,
        end_by: Deadline,
    ) -> Message:
        await self._ownership.check(exchange.binding, request, account, start_by)
        thing = _thing(exchange.binding, request)
        whole_project = not thing and exchange.binding.retry_class in {
            RetryClass.CONVERGE,
            RetryClass.DELETE,
        }
        try:
            exchange.queued = True
            async with self._changing.turn(exchange.project_id, thing, whole_project=whole_project):
                exchange.queued = False
                if replaced.asks(request):
                    exchange.request = await self._completed(
                        exchange.binding, request, account, start_by
                    )
                return await exchange.run(start_by, end_by)
        except asyncio.CancelledError:
            if self.released or exchange.in_doubt:
                outcome = "not known" if exchange.in_doubt else "not made"
                known = {
                    "operation": exchange.binding.operation,
                    "project": exchange.project_id,
                    "outcome": outcome,
                }
                log.warning("change cut short", **known, **exchange.facts().as_metadata())
            raise

    async def _completed(
        self, binding: Binding, request: Message, account: Account, deadline: Deadline
    ) -> HttpRequest:
        """The change with what CBR would otherwise drop, as it is in force now."""
        read = self._catalog[binding.read_back]
        look = self._exchange(read, read_back.read_request(read, request), account, {}, None)
        shown = await look.run(deadline, deadline)
        now = replaced.in_force(read, look.last.value, shown)
        return _http_request(
            binding, request, account, replaced.completed(binding, request, read, now)
        )

    def _abandon(self, task: asyncio.Task[Message], exchange: Exchange) -> None:
        """Nobody waits any more.

        What CBR cannot have begun, or of which nothing more can be learnt, is stopped; the rest
        ends in a log line.
        """
        exchange.abandoned = True
        if not exchange.unfinished:
            task.cancel()
        task.add_done_callback(lambda ended: self._ended_alone(ended, exchange))

    def _ended_alone(self, task: asyncio.Task[Message], exchange: Exchange) -> None:
        _log_end(task, exchange)
        for observer in () if exchange.began else exchange.observers:
            # Cancelled before its first step, so that nothing in it could run.
            late = asyncio.ensure_future(
                observer.on_end(ChangeResult.NOTHING, None, exchange.facts())
            )
            self._late.add(late)
            late.add_done_callback(self._late.discard)


def _log_end(task: asyncio.Task[Message], exchange: Exchange) -> None:
    if task.cancelled():
        return
    error = task.exception()
    outcome = (
        "done"
        if error is None
        else str(error)
        if isinstance(error, GatewayError)
        else "unexpected error"
    )
    log.info(
        "change ended after its caller had gone",
        operation=exchange.binding.operation,
        outcome=outcome,
        **exchange.facts().as_metadata(),
    )


def _thing(binding: Binding, request: Any) -> str:  # noqa: ANN401 - any request message
    """What a change is made to, such as `vault_id 3f5c…`: the first variable of its path, or the id
    that the caller gives to what is created.
    """
    for segment in binding.segments:
        return f"{segment.variable} {getattr(request, segment.variable)}"
    for fd, value in request.ListFields():
        if (
            fd.message_type is not None
            and not fd.is_repeated
            and f"{fd.name}_id" in fd.message_type.fields_by_name
        ):
            return f"{fd.name}_id {getattr(value, f'{fd.name}_id')}"
    return ""


def _objects(binding: Binding, request: Message) -> str:
    """The ids in the path of the call; where it has none, the first id that the request names."""
    ids = [
        (field.in_path, each.value) for field in binding.id_fields for each in field.ids(request)
    ]
    return "/".join(value for in_path, value in ids if in_path) or next(
        (value for _, value in ids), ""
    )


def _http_request(
    binding: Binding,
    request: Any,  # noqa: ANN401 - any message
    account: Account,
    members: dict[str, Json],
) -> HttpRequest:
    """`members`: of the body or the query."""
    url = account.endpoint + binding.target(request, account.project_id)
    if binding.method in IN_BODY:
        return HttpRequest(
            binding.method, url, {"Content-Type": "application/json"}, msgspec.json.encode(members)
        )
    query = "&".join([f"{encoded(name)}={encoded(value)}" for name, value in query_pairs(members)])
    return HttpRequest(
        binding.method, f"{url}?{query}" if query else url, {"Content-Type": "application/json"}
    )
