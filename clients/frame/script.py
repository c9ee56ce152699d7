"""A gateway that plays a script: WatchTasks streams that break in every way that a client's loop must survive, one after the other.

The stream is refused with FAILED_PRECONDITION if the client comes back with another token than that of the last event it was sent. A watch of the
vault `refused` is refused outright.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import grpc
from cbrgateway.v1 import task_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

_Event = task_pb2.WatchTasksResponse
SEEN: Final = "snapshot_task 1, snapshot_end, update 2, update 3, gap, snapshot_end, heartbeat, heartbeat, terminal 4"
"""What the caller of a loop gets to see: kinds of events, with the revision where there is a task."""


@dataclass(frozen=True, slots=True)
class _Stream:
    """One stream: its events, and how it ends. The token of an event is `<number of the stream>.<sequence>`."""

    events: Sequence[_Event]
    end: grpc.StatusCode | None = grpc.StatusCode.OK
    """None: it never does."""
    reason: str = ""
    resumes: str = ""
    """The token that it must be opened with."""


def _task(revision: int) -> task_pb2.Task:
    return task_pb2.Task(id="task", revision=revision)


def _end(reason: task_pb2.StreamEndReason.ValueType) -> _Event:
    return _Event(stream_end=task_pb2.StreamEnd(reason=reason, retry_delay=Duration(nanos=50_000_000)))


def _update(revision: int) -> _Event:
    return _Event(update=task_pb2.TaskUpdate(task=_task(revision)))


_SNAPSHOT_END: Final = _Event(snapshot_end=task_pb2.TaskSnapshotEnd(task_count=1))
_HEARTBEAT: Final = _Event(heartbeat=task_pb2.WatchHeartbeat())
_TERMINAL: Final = _Event(terminal=task_pb2.TaskUpdate(task=_task(4)))
_SCRIPT: Final[Sequence[_Stream]] = (
    _Stream([_Event(snapshot_task=_task(1)), _SNAPSHOT_END, _update(2)], grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE"),
    # What was seen comes again; then the gateway says that the stream has lived long enough.
    _Stream([_update(2), _update(3), _end(task_pb2.STREAM_END_REASON_LIFETIME)], resumes="1.3"),
    _Stream([], grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED", resumes="2.3"),
    # A new snapshot; then silence, which heartbeats are there to tell from quiet.
    _Stream([_Event(snapshot_task=_task(3)), _SNAPSHOT_END], end=None),
    # OK without `stream_end` is a cut.
    _Stream([_HEARTBEAT], resumes="4.2"),
    # The second event is missing.
    _Stream([_HEARTBEAT, _Event(), _TERMINAL], end=None, resumes="5.1"),
    _Stream([_TERMINAL, _TERMINAL, _end(task_pb2.STREAM_END_REASON_ALL_TERMINAL)], resumes="6.1"),
)


class _Player:
    def __init__(self) -> None:
        self._next = 0

    def watch(self, request: task_pb2.WatchTasksRequest, context: grpc.ServicerContext) -> Iterator[task_pb2.WatchTasksResponse]:
        if request.filter.vault_id == "refused":
            self._abort(context, grpc.StatusCode.PERMISSION_DENIED, "PROJECT_DENIED", "as the script says")
        stream, number = _SCRIPT[self._next], self._next + 1
        if request.resume_token != stream.resumes:
            told = f"stream {number} was opened with the token {request.resume_token!r} instead of {stream.resumes!r}"
            self._abort(context, grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID", told)
        self._next = number
        for sequence, event in enumerate(stream.events, start=1):
            if event.WhichOneof("event"):
                sent = task_pb2.WatchTasksResponse(resume_token=f"{number}.{sequence}", sequence=sequence)
                sent.MergeFrom(event)
                yield sent
        if stream.end is None:
            gone = threading.Event()
            context.add_callback(gone.set)
            gone.wait()
        elif stream.end is not grpc.StatusCode.OK:
            self._abort(context, stream.end, stream.reason, "as the script says")

    @staticmethod
    def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str, text: str) -> None:
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=text)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="cbrgateway"))
        context.abort_with_status(rpc_status.to_status(status))


class Script:
    """Serves the script, in plain text, until it is closed."""

    def __init__(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(4))
        watch = grpc.unary_stream_rpc_method_handler(
            _Player().watch, task_pb2.WatchTasksRequest.FromString, task_pb2.WatchTasksResponse.SerializeToString
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("cbrgateway.v1.TaskService", {"WatchTasks": watch}),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def environ(self) -> dict[str, str]:
        return {"CBR_TEST_SCRIPT_ADDRESS": self.address, "CBR_TEST_SCRIPT_SEEN": SEEN}

    def close(self) -> None:
        self._server.stop(None).wait()
