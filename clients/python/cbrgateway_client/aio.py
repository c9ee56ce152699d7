"""The loops for asyncio."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from google.protobuf.message import Message

from cbrgateway_client.errors import CallError, Kind
from cbrgateway_client.lists import first_page, next_page, rows_of
from cbrgateway_client.outcome import Ended, Target, Work, countdown, submission_of
from cbrgateway_client.resume import Resumption
from cbrgateway_client.retry import delay_s, one_change, seconds

if TYPE_CHECKING:
    from cbrgateway.v1.task_pb2_grpc import TaskServiceAsyncStub  # exists for type checkers only

__all__ = ["pages", "retry_when_limited", "rows", "run_and_wait", "wait", "watch_tasks"]

Answer = TypeVar("Answer")
Change = TypeVar("Change", bound=Message)
Page = TypeVar("Page", bound=Message)
Request = TypeVar("Request", bound=Message)


async def retry_when_limited(
    call: Callable[[], Awaitable[Answer]], *, timeout_s: float = 60
) -> Answer:
    """As `cbrgateway_client.retry_when_limited`."""
    end = time.monotonic() + seconds("timeout_s", timeout_s)
    with one_change():
        while True:
            try:
                return await call()
            except CallError as refusal:
                await asyncio.sleep(delay_s(refusal, end))


async def watch_tasks(
    stub: "TaskServiceAsyncStub",
    request: task_pb2.WatchTasksRequest | None = None,
    *,
    reconnect_timeout_s: float = 60,
    timeout_s: float | None = None,
) -> AsyncGenerator[task_pb2.WatchTasksResponse]:
    """As `cbrgateway_client.watch_tasks`.

    Leave it early through `contextlib.aclosing`, or the stream stays open until it is collected.
    """
    memory = Resumption(request or task_pb2.WatchTasksRequest(), reconnect_timeout_s, timeout_s)
    while True:
        call = stub.WatchTasks(memory.opened())
        error: CallError | None = None
        try:
            while (response := await _next(call, memory)) is not None:
                if memory.take(response):
                    yield response
        except grpc.RpcError as failure:
            error = CallError.of(failure)
        finally:
            call.cancel()
        again = memory.ended(error)
        if again is None:
            return
        if again.gap:
            yield again.gap
        await asyncio.sleep(again.delay_s)


async def wait(
    channel: grpc.aio.Channel,
    what: Target | Iterable[Target],
    *,
    timeout_s: float | None = None,
    reconnect_timeout_s: float = 60,
) -> Ended:
    """As `cbrgateway_client.wait`."""
    work, tasks = Work.of(what), TaskServiceStub(channel)
    left_s = countdown(timeout_s)
    try:
        for request in work.requests():
            events = watch_tasks(
                tasks, request, reconnect_timeout_s=reconnect_timeout_s, timeout_s=left_s()
            )
            async with contextlib.aclosing(events):
                async for event in events:
                    work.take(event)
    except CallError as error:
        ours = error.kind is Kind.DEADLINE and left_s() == 0
        raise (work.late(timeout_s) if ours else error) from None
    return work.outcome()


async def run_and_wait(
    channel: grpc.aio.Channel,
    call: Callable[[], Awaitable[Change]],
    *,
    timeout_s: float | None = None,
) -> tuple[Change, Ended]:
    """As `cbrgateway_client.run_and_wait`."""
    answer = await call()
    return answer, await wait(channel, submission_of(answer), timeout_s=timeout_s)


async def pages(
    rpc: Callable[[Request], Awaitable[Page]], request: Request, *, prefetch: bool = False
) -> AsyncGenerator[Page]:
    """As `cbrgateway_client.pages`."""
    asked = first_page(request)
    ahead: Any = None
    try:
        while True:
            page = await (ahead or rpc(asked))
            following = next_page(asked, page)
            # gRPC's calls are on their way before they are awaited.
            ahead = rpc(following) if following and prefetch else None
            yield page
            if following is None:
                return
            asked = following
    finally:
        if ahead:
            ahead.cancel()


async def rows(
    rpc: Callable[[Request], Awaitable[Page]], request: Request, *, prefetch: bool = False
) -> AsyncGenerator[Any]:
    """As `cbrgateway_client.rows`."""
    async with contextlib.aclosing(pages(rpc, request, prefetch=prefetch)) as found:
        async for page in found:
            for row in rows_of(page):
                yield row


async def _next(call: Any, memory: Resumption) -> task_pb2.WatchTasksResponse | None:  # noqa: ANN401 - with and without interceptors
    """The next response, None at the end.

    Raises grpc.RpcError, also when there was none within the idle timeout.
    """
    try:
        async with asyncio.timeout(memory.idle_timeout_s):
            response = await call.read()
    except TimeoutError:
        raise memory.silent() from None
    return None if response is grpc.aio.EOF else response
