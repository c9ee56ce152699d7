"""Carries out any bound RPC against CBR: `Client.call(binding, request, account)`.

A read runs in the caller's own task and stops with it. A change runs in a task of its own: a caller that goes away, or whose time
is up, stops waiting; the change itself is seen through, because only then is it known what became of it.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from weakref import WeakValueDictionary

import msgspec
import structlog
from cbrgateway.v1 import options_pb2
from google.protobuf.message import Message

from gateway.clock import Clock
from gateway.errors import GatewayError, UpstreamFacts
from gateway.upstream import paging, read_back
from gateway.upstream.auth import Authenticator
from gateway.upstream.breaker import Breakers, Traffic
from gateway.upstream.budget import RetryBudget
from gateway.upstream.catalog import Catalog
from gateway.upstream.declaration import IN_BODY, Binding, RetryClass, query_pairs
from gateway.upstream.exchange import Exchange, ReadBack, Route
from gateway.upstream.http import HttpRequest, Transport
from gateway.upstream.retry import MUTATION_CAP_S, READ_CAP_S, Deadline
from gateway.upstream.values import Json

OPERATION_CAP_S: Final = 60.0
"""How long a change is seen through once it has been sent."""
_WHOLE_LIST: Final = 1000

log: structlog.stdlib.BoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Account:
    """A CBR project and the way into it."""

    project_id: str
    endpoint: str
    """Scheme and host, such as `https://cbr.cn-north-4.myhuaweicloud.com`."""
    auth: Authenticator


@dataclass(frozen=True, slots=True)
class Reply:
    """The response and what it took."""

    message: Message
    upstream: UpstreamFacts


class Client:
    """The calling side of the process. One per process; close it to wait for the changes still under way."""

    def __init__(self, catalog: Catalog, transport: Transport, breakers: Breakers, tokens: paging.PageTokens, clock: Clock) -> None:
        self._catalog = catalog
        self._transport = transport
        self._breakers = breakers
        self._tokens = tokens
        self._clock = clock
        self._budgets: dict[str, RetryBudget] = {}
        self._changes: set[asyncio.Task[Message]] = set()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def call(self, binding: Binding, request: Message, account: Account, scope: str, time_left_s: float | None) -> Reply:
        """Carries out one RPC. `scope` names the caller in page tokens; `time_left_s` is the caller's deadline. Raises GatewayError."""
        now = self._clock.monotonic()
        if binding.reads:
            page = paging.plan_page(binding, request, self._tokens, scope) if binding.paging else None
            exchange = self._exchange(binding, request, account, page.ask if page else {}, None)
            deadline = Deadline.begin(now, time_left_s, READ_CAP_S)
            message = await exchange.run(deadline, deadline)
            return Reply(page.cut(message) if page else message, exchange.facts())
        start_by = Deadline.begin(now, time_left_s, MUTATION_CAP_S)
        end_by = Deadline.begin(now, None, OPERATION_CAP_S)
        looks = self._reader(binding, request, account, end_by) if binding.retry_class is RetryClass.CONVERGE else None
        exchange = self._exchange(binding, request, account, {}, looks)
        return Reply(await self._see_through(exchange, start_by, end_by), exchange.facts())

    async def aclose(self, grace_s: float) -> None:
        """Waits for the changes under way, at most `grace_s`; those that remain are cut and logged."""
        if self._changes:
            _, late = await asyncio.wait(self._changes, timeout=grace_s)
            for task in late:
                task.cancel()
            if late:
                log.warning("changes cut by shutdown, their outcome is unknown", count=len(late))
                await asyncio.wait(late)

    def _exchange(self, binding: Binding, request: Message, account: Account, extra: dict[str, Json], looks: ReadBack | None) -> Exchange:
        budget = self._budgets.setdefault(account.endpoint, RetryBudget())
        breaker = self._breakers.of(account.endpoint, Traffic.READ if binding.reads else Traffic.WRITE)
        return Exchange(
            binding=binding,
            request=_http_request(binding, request, account, extra),
            project_id=account.project_id,
            route=Route(self._transport, account.auth, breaker, budget, self._clock),
            read_back=looks,
            has_request_id=bool(getattr(request, "request_id", "")),
            subject={segment.variable: str(getattr(request, segment.variable)) for segment in binding.segments},
        )

    def _reader(self, binding: Binding, request: Message, account: Account, end_by: Deadline) -> ReadBack:
        async def look() -> Message | None:
            read = self._catalog[binding.read_back]
            wanted = read_back.read_request(read, request)
            pages = read.paging in {options_pb2.PAGING_OFFSET, options_pb2.PAGING_MARKER}
            exchange = self._exchange(read, wanted, account, {"limit": _WHOLE_LIST} if pages else {}, None)
            return read_back.settled(binding, read, request, await exchange.run(end_by, end_by))

        return look

    async def _see_through(self, exchange: Exchange, start_by: Deadline, end_by: Deadline) -> Message:
        """The change's response, or an error as soon as the caller's time is up, while the change goes on."""
        task = asyncio.create_task(self._change(exchange, start_by, end_by))
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, start_by.left_s(self._clock.monotonic())))
        except asyncio.CancelledError:
            self._abandon(task, exchange)
            raise
        if done:
            return task.result()
        self._abandon(task, exchange)
        raise exchange.outcome_unknown() if exchange.in_doubt else exchange.too_late()

    async def _change(self, exchange: Exchange, start_by: Deadline, end_by: Deadline) -> Message:
        if exchange.binding.retry_class is not RetryClass.CONVERGE:
            return await exchange.run(start_by, end_by)
        # One write at a time to one resource: else a repeat after a read-back could undo a newer write of ours.
        lock = self._locks.setdefault(f"{exchange.project_id} {exchange.request.url}", asyncio.Lock())
        async with lock:
            return await exchange.run(start_by, end_by)

    def _abandon(self, task: asyncio.Task[Message], exchange: Exchange) -> None:
        """Nobody waits any more. What CBR cannot have begun is stopped; the rest ends in a log line."""
        exchange.abandoned = True
        if not exchange.in_doubt:
            task.cancel()
        task.add_done_callback(lambda ended: _log_end(ended, exchange))


def _log_end(task: asyncio.Task[Message], exchange: Exchange) -> None:
    if task.cancelled():
        return
    error = task.exception()
    outcome = "done" if error is None else str(error) if isinstance(error, GatewayError) else "unexpected error"
    log.info("change ended after its caller had gone", operation=exchange.binding.operation, outcome=outcome, **exchange.facts().as_metadata())


def _http_request(binding: Binding, request: Any, account: Account, extra: dict[str, Json]) -> HttpRequest:  # noqa: ANN401 - any request message
    url = account.endpoint + binding.target(request, account.project_id)
    members = extra | binding.members(request)
    if binding.method in IN_BODY:
        return HttpRequest(binding.method, url, {"Content-Type": "application/json"}, msgspec.json.encode(members))
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query_pairs(members))
    return HttpRequest(binding.method, f"{url}?{query}" if query else url, {"Content-Type": "application/json"})
