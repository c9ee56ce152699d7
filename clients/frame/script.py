"""A gateway that plays a script: WatchTasks streams that break in every way that a client's loop
must survive, one after the other.

The stream is refused with FAILED_PRECONDITION if the client comes back with another token than that
of the last event it was sent. A watch of the vault `refused` is refused outright.

CreateVault is refused by a limit at first. When it comes again, for the vault of the same name, it
is made if it has the request_id that it had, and refused with FAILED_PRECONDITION if it has another
one: the first try may have been made and its answer lost, before a limit refused gRPC's repeat.
Where the vault's description has a megabyte, no limit refuses it, but it is UNAVAILABLE at first.

Watches of submissions and tasks by their ids: `waits.py`. ListVaults: `lists.py`.

It serves in plain text; over TLS, for callers with a certificate of the authority that all trust;
and with a certificate that has expired.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from cbrgateway.v1 import task_pb2, types_pb2, vault_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from google.rpc.error_details_pb2 import RetryInfo
from grpc_status import rpc_status

from clients.frame import lists, waits

_Event = task_pb2.WatchTasksResponse
SEEN: Final = (
    "snapshot_task 1, snapshot_end, update 2, update 3, gap, snapshot_task 3, snapshot_end,"
    " heartbeat, heartbeat, terminal 4"
)
"""What the caller of a loop gets to see: kinds of events, with the revision where there is a
task.
"""


@dataclass(frozen=True, slots=True)
class _Stream:
    """One stream: its events, and how it ends.

    The token of an event is `<number of the stream>.<sequence>`.
    """

    events: Sequence[_Event]
    end: grpc.StatusCode | None = grpc.StatusCode.OK
    """None: it never does."""
    reason: str = ""
    resumes: str = ""
    """The token that it must be opened with."""


def _task(revision: int) -> task_pb2.Task:
    return task_pb2.Task(id="task", revision=revision)


def _end(reason: task_pb2.StreamEndReason.ValueType) -> _Event:
    return _Event(
        stream_end=task_pb2.StreamEnd(reason=reason, retry_delay=Duration(nanos=50_000_000))
    )


def _update(revision: int) -> _Event:
    return _Event(update=task_pb2.TaskUpdate(task=_task(revision)))


_MEGABYTE: Final = 1024 * 1024
_SNAPSHOT_END: Final = _Event(snapshot_end=task_pb2.TaskSnapshotEnd(task_count=1))
_DELAY: Final = RetryInfo(retry_delay=Duration(nanos=50_000_000))
_HEARTBEAT: Final = _Event(heartbeat=task_pb2.WatchHeartbeat())
_TERMINAL: Final = _Event(terminal=task_pb2.TaskUpdate(task=_task(4)))
_SCRIPT: Final[Sequence[_Stream]] = (
    # Too many calls at once, before there is anything to resume; with a delay.
    _Stream([], grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    _Stream(
        [_Event(snapshot_task=_task(1)), _SNAPSHOT_END, _update(2)],
        grpc.StatusCode.UNAVAILABLE,
        "UPSTREAM_UNAVAILABLE",
    ),
    # What was seen comes again; then the gateway says that the stream has lived long enough.
    _Stream([_update(2), _update(3), _end(task_pb2.STREAM_END_REASON_LIFETIME)], resumes="2.3"),
    _Stream([], grpc.StatusCode.OUT_OF_RANGE, "RESUME_TOKEN_EXPIRED", resumes="3.3"),
    # A new snapshot, told whole, since after a gap nothing that was known counts; then silence,
    # which heartbeats are there to tell from quiet.
    _Stream([_Event(snapshot_task=_task(3)), _SNAPSHOT_END], end=None),
    # Silence from the beginning, before gRPC's headers.
    _Stream([], end=None, resumes="5.2"),
    # OK without `stream_end` is a cut.
    _Stream([_HEARTBEAT], resumes="5.2"),
    # The second event is missing.
    _Stream([_HEARTBEAT, _Event(), _TERMINAL], end=None, resumes="7.1"),
    _Stream([_TERMINAL, _TERMINAL, _end(task_pb2.STREAM_END_REASON_ALL_TERMINAL)], resumes="8.1"),
)


class _Player:
    def __init__(self) -> None:
        self._next = 0
        self._refused: dict[str, str] = {}

    def create_vault(
        self, request: vault_pb2.CreateVaultRequest, context: grpc.ServicerContext
    ) -> vault_pb2.CreateVaultResponse:
        name = request.vault.name
        if name not in self._refused:
            self._refused[name] = request.request_id
            if len(request.vault.description) >= _MEGABYTE:
                self._abort(
                    context,
                    grpc.StatusCode.UNAVAILABLE,
                    "UPSTREAM_UNAVAILABLE",
                    "as the script says",
                )
            self._abort(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "RATE_LIMIT",
                "as the script says",
                _DELAY,
            )
        if not request.request_id or request.request_id != self._refused[name]:
            told = (
                f"the create came again with the request_id {request.request_id!r} instead of"
                f" {self._refused[name]!r}"
            )
            self._abort(context, grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID", told)
        return vault_pb2.CreateVaultResponse(vault=types_pb2.Vault(id="made", name=name))

    def watch(
        self, request: task_pb2.WatchTasksRequest, context: grpc.ServicerContext
    ) -> Iterator[task_pb2.WatchTasksResponse]:
        if request.filter.vault_id == "refused":
            self._abort(
                context, grpc.StatusCode.PERMISSION_DENIED, "PROJECT_DENIED", "as the script says"
            )
        if request.filter.submission_ids or request.filter.task_ids:
            yield from self._work(request.filter, context)
            return
        stream, number = _SCRIPT[self._next], self._next + 1
        if request.resume_token != stream.resumes:
            told = (
                f"stream {number} was opened with the token {request.resume_token!r} instead of"
                f" {stream.resumes!r}"
            )
            self._abort(context, grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID", told)
        self._next = number
        for sequence, event in enumerate(stream.events, start=1):
            if event.WhichOneof("event"):
                sent = task_pb2.WatchTasksResponse(
                    resume_token=f"{number}.{sequence}", sequence=sequence
                )
                sent.MergeFrom(event)
                yield sent
        if stream.end is None:
            self._hold(context)
        elif stream.end is not grpc.StatusCode.OK:
            delays = [_DELAY] if stream.end is grpc.StatusCode.RESOURCE_EXHAUSTED else []
            self._abort(context, stream.end, stream.reason, "as the script says", *delays)

    def _work(
        self, wanted: task_pb2.TaskFilter, context: grpc.ServicerContext
    ) -> Iterator[task_pb2.WatchTasksResponse]:
        if wrong := waits.misnamed(wanted):
            self._abort(context, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", wrong)
        event = waits.ENDED
        for sequence, event in enumerate(waits.named_work(wanted), start=1):
            sent = task_pb2.WatchTasksResponse(sequence=sequence)
            sent.MergeFrom(event)
            yield sent
        if event is not waits.ENDED:
            self._hold(context)

    def list_vaults(
        self, request: vault_pb2.ListVaultsRequest, context: grpc.ServicerContext
    ) -> vault_pb2.ListVaultsResponse:
        page = lists.page(request)
        if page is None:
            told = f"the list came with the name {request.name!r} and {request.page_token!r}"
            self._abort(context, grpc.StatusCode.FAILED_PRECONDITION, "STATE_INVALID", told)
        assert page is not None
        return page

    @staticmethod
    def _hold(context: grpc.ServicerContext) -> None:
        """Keeps the stream open until its caller leaves."""
        gone = threading.Event()
        context.add_callback(gone.set)
        gone.wait()

    @staticmethod
    def _abort(
        context: grpc.ServicerContext,
        code: grpc.StatusCode,
        reason: str,
        text: str,
        *details: Message,
    ) -> None:
        status = status_pb2.Status(code=code_pb2.Code.Value(code.name), message=text)
        for detail in (error_details_pb2.ErrorInfo(reason=reason, domain="cbrgateway"), *details):
            status.details.add().Pack(detail)
        context.abort_with_status(rpc_status.to_status(status))


class Script:
    """Serves the script until it is closed. `folder` has the certificates, as `servers.py` makes
    them.
    """

    def __init__(self, folder: Path) -> None:
        self._server = grpc.server(ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers(_handlers(_Player()))
        ports = {
            "SCRIPT": self._server.add_insecure_port("127.0.0.1:0"),
            "MUTUAL": self._secure(folder / "server.crt", (folder / "ca.pem").read_bytes()),
            "EXPIRED": self._secure(folder / "expired.crt"),
        }
        self._addresses = {
            f"CBR_TEST_{name}_ADDRESS": f"127.0.0.1:{port}" for name, port in ports.items()
        }
        self._server.start()

    def _secure(self, certificate: Path, callers: bytes | None = None) -> int:
        """The port. `callers`: who vouches for callers, who then must have a certificate."""
        pair = certificate.with_suffix(".key").read_bytes(), certificate.read_bytes()
        credentials = grpc.ssl_server_credentials([pair], callers, callers is not None)
        return self._server.add_secure_port("127.0.0.1:0", credentials)

    def environ(self) -> dict[str, str]:
        return {**self._addresses, "CBR_TEST_SCRIPT_SEEN": SEEN}

    def close(self) -> None:
        self._server.stop(None).wait()


def _handlers(player: _Player) -> Sequence[grpc.GenericRpcHandler]:
    watch = grpc.unary_stream_rpc_method_handler(
        player.watch,
        task_pb2.WatchTasksRequest.FromString,
        task_pb2.WatchTasksResponse.SerializeToString,
    )
    create = grpc.unary_unary_rpc_method_handler(
        player.create_vault,
        vault_pb2.CreateVaultRequest.FromString,
        vault_pb2.CreateVaultResponse.SerializeToString,
    )
    page = grpc.unary_unary_rpc_method_handler(
        player.list_vaults,
        vault_pb2.ListVaultsRequest.FromString,
        vault_pb2.ListVaultsResponse.SerializeToString,
    )
    services: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = {
        "TaskService": {"WatchTasks": watch},
        "VaultService": {"CreateVault": create, "ListVaults": page},
    }
    return [
        grpc.method_handlers_generic_handler(f"cbrgateway.v1.{name}", methods)
        for name, methods in services.items()
    ]
