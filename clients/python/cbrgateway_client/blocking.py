"""The loops without asyncio."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub

from cbrgateway_client.errors import CallError
from cbrgateway_client.resume import Resumption, lost
from cbrgateway_client.retry import check_number, delay_s, one_change

Answer = TypeVar("Answer")


def retry_when_limited(call: Callable[[], Answer], *, timeout_s: float = 60) -> Answer:
    """Makes a call, and again after the delay that the gateway asks for, as long as a limit refuses
    it and `timeout_s` allows.

    `call` makes one change at most: all tries have the same request_id, yours or a new one. That
    makes it safe, since the answer of a change may be lost, and a limit refuse the repeat.
    """
    check_number("timeout_s", timeout_s)
    end = time.monotonic() + timeout_s
    with one_change():
        while True:
            try:
                return call()
            except CallError as refusal:
                time.sleep(delay_s(refusal, end))


def watch_tasks(
    stub: TaskServiceStub,
    request: task_pb2.WatchTasksRequest | None = None,
    *,
    reconnect_timeout_s: float = 60,
) -> Iterator[task_pb2.WatchTasksResponse]:
    """Follows tasks until all are final (`end_when_all_terminal`) or the loop is left; through cuts
    and restarts of the gateway.

    Yields every event but `stream_end` and those of a task that came before, by its id and
    revision. Each has a `resume_token`; a request with the last one goes on from there, also in
    another process. Handle `gap`: events may be missing, a snapshot follows.

    Raises CallError for a refusal, and when nothing was heard for longer than `reconnect_timeout_s`
    and the next try fails, too.
    """
    memory = Resumption(request or task_pb2.WatchTasksRequest(), reconnect_timeout_s)
    while True:
        call = stub.WatchTasks(memory.opened())
        error: CallError | None = None
        try:
            while (response := _next(call, memory.silence_s)) is not None:
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
        time.sleep(again.delay_s)


def _next(call: Any, silence_s: float) -> task_pb2.WatchTasksResponse | None:  # noqa: ANN401 - grpc's type has no cancel
    """The next response, None at the end.

    Raises grpc.RpcError, also when there was none for `silence_s`.
    """
    silent = threading.Event()

    def give_up() -> None:
        silent.set()
        call.cancel()

    timer = threading.Timer(silence_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        return next(call, None)
    except grpc.RpcError:
        if silent.is_set():
            raise lost(f"no sign of life for {silence_s:g} s") from None
        raise
    finally:
        timer.cancel()
