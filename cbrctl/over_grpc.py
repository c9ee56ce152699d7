"""Calls over gRPC, by the Python client: its channels, its repeats, its loop over WatchTasks."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# What matters in the lines of gRPC's core reaches us as errors.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from cbrgateway.v1.task_pb2 import WatchTasksRequest, WatchTasksResponse
from cbrgateway.v1.task_pb2_grpc import TaskServiceStub
from cbrgateway_client import CallError, Gateway, Kind, watch_tasks

from cbrctl.advice import advice
from cbrctl.contexts import Context
from cbrctl.failures import Refusal, Violation
from cbrctl.messages import Prepared, prepared
from cbrctl.plain import plain
from cbrctl.transport import Data


class OverGrpc:
    """One channel, to the gateway of a context."""

    def __init__(self, context: Context, deadline_s: float | None = None) -> None:
        self._context, self._deadline_s = context, deadline_s
        self._channel = Gateway(
            context.address,
            context.credential(),
            context.project,
            context.plaintext,
            _path(context.ca_file),
            _path(context.certificate_file),
            _path(context.key_file),
        ).channel()

    def call(self, rpc: str, request: Data, left_s: float | None = None) -> dict[str, Any]:
        """`left_s`: of the deadline, if some of it is over."""
        ready = prepared(rpc, request)
        timeout_s = self._deadline_s if left_s is None else left_s
        try:
            return plain(self._method(rpc, ready)(ready.message, timeout=timeout_s))
        except CallError as error:
            raise self._refusal(error) from error

    def stream(self, rpc: str, request: Data) -> Iterator[dict[str, Any]]:
        ready = prepared(rpc, request)
        try:
            yield from map(plain, self._method(rpc, ready)(ready.message, timeout=self._deadline_s))
        except grpc.RpcError as error:
            raise self._refusal(CallError.of(error)) from error

    def watch(
        self,
        request: WatchTasksRequest,
        reconnect_timeout_s: float,
        timeout_s: float | None = None,
    ) -> Iterator[WatchTasksResponse]:
        try:
            yield from watch_tasks(
                TaskServiceStub(self._channel),
                request,
                reconnect_timeout_s=reconnect_timeout_s,
                timeout_s=timeout_s,
            )
        except CallError as error:
            if timeout_s is not None and error.kind is Kind.DEADLINE:
                raise TimeoutError from error
            raise self._refusal(error) from error

    def close(self) -> None:
        self._channel.close()

    def _method(self, rpc: str, ready: Prepared) -> Any:  # noqa: ANN401 - of the generated stub
        service, name = rpc.split("/")
        stubs = importlib.import_module(f"{ready.module}_grpc")
        return getattr(getattr(stubs, f"{service}Stub")(self._channel), name)

    def _refusal(self, error: CallError) -> Refusal:
        return Refusal(
            error.code().name,
            error.details() or "",
            reason=error.reason_name,
            advice=advice(error.kind, error.code().name, error.reason_name, self._context),
            violations=[Violation(each.field, each.description) for each in error.field_violations],
            call_id=error.call_id,
            request_id=error.request_id,
            in_doubt=bool(error.request_id) and _in_doubt(error),
        )


def _path(file: str | None) -> Path | None:
    return Path(file) if file else None


def _in_doubt(error: CallError) -> bool:
    """Whether a change may have been made all the same."""
    if error.kind is Kind.ANSWERED:
        return error.reason_name == "OUTCOME_UNKNOWN"
    never_sent = error.kind not in {Kind.DEADLINE, Kind.OTHER} and "connect" in str(error)
    return not never_sent and error.code() is not grpc.StatusCode.UNIMPLEMENTED
