"""The loops without asyncio."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import grpc
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from google.protobuf.message import Message

from cbrgateway_client.errors import CallError, Kind
from cbrgateway_client.lists import first_page, next_page, rows_of
from cbrgateway_client.outcome import Ended, Target, Work, countdown, submission_of
from cbrgateway_client.resume import Resumption
from cbrgateway_client.retry import delay_s, one_change, seconds

Answer = TypeVar("Answer")
Change = TypeVar("Change", bound=Message)
Page = TypeVar("Page", bound=Message)
Request = TypeVar("Request", bound=Message)


def retry_when_limited(call: Callable[[], Answer], *, timeout_s: float = 60) -> Answer:
    """Makes a call, and again after the delay that the gateway asks for, as long as a limit refuses
    it and `timeout_s` allows.

    `call` makes one change at most: all tries have the same request_id, yours or a new one. That
    makes it safe, since the answer of a change may be lost, and a limit refuse the repeat.
    """
    end = time.monotonic() + seconds("timeout_s", timeout_s)
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
    timeout_s: float | None = None,
) -> Iterator[task_pb2.WatchTasksResponse]:
    """Follows tasks until all are final (`end_when_all_terminal`) or the loop is left; through cuts
    and restarts of the gateway.

    Yields every event but `stream_end` and those of a task that came before, by its id and
    revision. Each has a `resume_token`; a request with the last one goes on from there, also in
    another process. Handle `gap`: events may be missing, a snapshot follows.

    Raises CallError for a refusal, and when tries have failed for longer than
    `reconnect_timeout_s`; and of kind DEADLINE after `timeout_s`.
    """
    memory = Resumption(request or task_pb2.WatchTasksRequest(), reconnect_timeout_s, timeout_s)
    while True:
        call = stub.WatchTasks(memory.opened())
        error: CallError | None = None
        try:
            while (response := _next(call, memory)) is not None:
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


def wait(
    channel: grpc.Channel,
    what: Target | Iterable[Target],
    *,
    timeout_s: float | None = None,
    reconnect_timeout_s: float = 60,
) -> Ended:
    """Waits until work has ended: submissions, tasks, ids of tasks; one, or several. By one stream
    at a time, however many they are.

    Raises TaskFailed when all has ended and not all has succeeded; CallError of kind DEADLINE, with
    `still_open`, when the time is up; CallError as `watch_tasks`; ValueError for what has no id.
    """
    work, tasks = Work.of(what), TaskServiceStub(channel)
    left_s = countdown(timeout_s)
    try:
        for request in work.requests():
            for event in watch_tasks(
                tasks, request, reconnect_timeout_s=reconnect_timeout_s, timeout_s=left_s()
            ):
                work.take(event)
    except CallError as error:
        ours = error.kind is Kind.DEADLINE and left_s() == 0
        raise (work.late(timeout_s) if ours else error) from None
    return work.outcome()


def run_and_wait(
    channel: grpc.Channel, call: Callable[[], Change], *, timeout_s: float | None = None
) -> tuple[Change, Ended]:
    """Makes a change, and waits for the work that it has started: its answer, and what has ended.

    `timeout_s`: of the wait. Raises what the call and `wait` raise; ValueError for an answer
    without a submission.
    """
    answer = call()
    return answer, wait(channel, submission_of(answer), timeout_s=timeout_s)


def pages(
    rpc: Callable[[Request], Page], request: Request, *, prefetch: bool = False
) -> Iterator[Page]:
    """The answers of a list: `pages(vaults.ListVaults, ListVaultsRequest())`. One is held at a
    time.

    `prefetch`: the next one is asked for while the caller is at work on this one. Raises CallError,
    also for a page that names itself as the next one; TypeError for an RPC that is no list.
    """
    asked = first_page(request)
    ahead: Any = None
    try:
        while True:
            page = _unpacked(ahead) if ahead else rpc(asked)
            following = next_page(asked, page)
            ahead = rpc.future(following) if following and prefetch else None  # type: ignore[attr-defined] # of the stub's methods
            yield page
            if following is None:
                return
            asked = following
    finally:
        if ahead:
            ahead.cancel()


def rows(
    rpc: Callable[[Request], Page], request: Request, *, prefetch: bool = False
) -> Iterator[Any]:
    """The rows of a list, of all its pages; as `pages`, which has what else there is."""
    for page in pages(rpc, request, prefetch=prefetch):
        yield from rows_of(page)


def _unpacked(call: Any) -> Any:  # noqa: ANN401 - of the kind of the page
    """What a future has brought. Raises CallError."""
    try:
        return call.result()
    except grpc.RpcError as error:
        raise CallError.of(error) from None


def _next(call: Any, memory: Resumption) -> task_pb2.WatchTasksResponse | None:  # noqa: ANN401 - grpc's type has no cancel
    """The next response, None at the end.

    Raises grpc.RpcError, also when there was none within the idle timeout.
    """
    silent = threading.Event()

    def give_up() -> None:
        silent.set()
        call.cancel()

    timer = threading.Timer(memory.idle_timeout_s, give_up)
    timer.daemon = True
    timer.start()
    try:
        return next(call, None)
    except grpc.RpcError:
        if silent.is_set():
            raise memory.silent() from None
        raise
    finally:
        timer.cancel()
