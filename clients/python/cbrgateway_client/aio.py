"""The loops for asyncio."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
from cbrgateway.v1 import task_pb2

from cbrgateway_client.errors import CallError
from cbrgateway_client.resume import Resumption, lost
from cbrgateway_client.retry import check_number, delay_s, one_change

if TYPE_CHECKING:
    from cbrgateway.v1.task_pb2_grpc import TaskServiceAsyncStub  # exists for type checkers only

__all__ = ["retry_when_limited", "watch_tasks"]

Answer = TypeVar("Answer")


async def retry_when_limited(
    call: Callable[[], Awaitable[Answer]], *, timeout_s: float = 60
) -> Answer:
    """As `cbrgateway_client.retry_when_limited`."""
    check_number("timeout_s", timeout_s)
    end = time.monotonic() + timeout_s
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
) -> AsyncIterator[task_pb2.WatchTasksResponse]:
    """As `cbrgateway_client.watch_tasks`.

    Leave it early through `contextlib.aclosing`, or the stream stays open until it is collected.
    """
    memory = Resumption(request or task_pb2.WatchTasksRequest(), reconnect_timeout_s)
    while True:
        call = stub.WatchTasks(memory.opened())
        error: CallError | None = None
        try:
            while (response := await _next(call, memory.silence_s)) is not None:
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


async def _next(call: Any, silence_s: float) -> task_pb2.WatchTasksResponse | None:  # noqa: ANN401 - with and without interceptors
    """The next response, None at the end.

    Raises grpc.RpcError, also when there was none for `silence_s`.
    """
    try:
        async with asyncio.timeout(silence_s):
            response = await call.read()
    except TimeoutError:
        raise lost(f"no sign of life for {silence_s:g} s") from None
    return None if response is grpc.aio.EOF else response
