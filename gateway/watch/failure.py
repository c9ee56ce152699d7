"""Why a task did not succeed, as an error of this gateway."""

from typing import Final

from cbrgateway.v1 import errors_pb2, task_pb2

from gateway.errors import GatewayError
from gateway.upstream.upstream_error import codes, presentable

_MEANINGS: Final = {
    task_pb2.TASK_STATUS_FAILED: (
        errors_pb2.ERROR_REASON_UPSTREAM_INTERNAL,
        "The task failed in CBR",
    ),
    task_pb2.TASK_STATUS_TIMED_OUT: (
        errors_pb2.ERROR_REASON_UPSTREAM_INTERNAL,
        "A step of the task ran past CBR's own time limit",
    ),
    task_pb2.TASK_STATUS_SKIPPED: (
        errors_pb2.ERROR_REASON_STATE_INVALID,
        "A check before the start failed, and nothing was started",
    ),
}


def failure_of(task: task_pb2.Task) -> GatewayError | None:
    """The error by CBR's code, by the same table as for calls; None for a task that has succeeded
    or has not ended.
    """
    general = _MEANINGS.get(task.status)
    if general is None:
        return None
    reason, text = general
    known = codes().known.get(task.error_info.code)
    if known is not None:
        reason, text = (
            errors_pb2.ErrorReason.Value(f"ERROR_REASON_{known.reason}"),
            f"{text}: {known.meaning}",
        )
    told = {
        "upstreamCode": task.error_info.code,
        "upstreamRequestId": task.details.common.upstream_request_id,
    }
    return GatewayError(
        reason,
        f"{text}.",
        metadata={name: word for name, value in told.items() if (word := presentable(value))},
    )
