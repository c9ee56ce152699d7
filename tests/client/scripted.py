"""A real gRPC server whose WatchTasks plays scripts: one for each stream, in the order in which
streams are opened.
"""

import asyncio
import contextlib

import grpc
from cbrgateway.v1 import task_pb2
from cbrgateway.v1.task_pb2_grpc import TaskServiceServicer, add_TaskServiceServicer_to_server
from cbrgateway_client import Gateway
from google.protobuf.any_pb2 import Any
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

RUNNING, SUCCEEDED = task_pb2.TASK_STATUS_RUNNING, task_pb2.TASK_STATUS_SUCCEEDED


def task(task_id, revision, status=RUNNING):
    return task_pb2.Task(id=task_id, revision=revision, status=status)


def update(*of):
    return task_pb2.WatchTasksResponse(update=task_pb2.TaskUpdate(task=task(*of)))


def terminal(task_id, revision):
    return task_pb2.WatchTasksResponse(
        terminal=task_pb2.TaskUpdate(task=task(task_id, revision, SUCCEEDED))
    )


def snapshot(*of):
    return task_pb2.WatchTasksResponse(snapshot_task=task(*of))


def end(reason, delay_s=0.0):
    event = task_pb2.StreamEnd(reason=reason)
    event.retry_delay.FromNanoseconds(round(delay_s * 1e9))
    return task_pb2.WatchTasksResponse(stream_end=event)


DONE = end(task_pb2.STREAM_END_REASON_ALL_TERMINAL)
HANG = "hang"
HOLE = "hole"


def refuse(code, reason="", retry_delay_s=None):
    """The last step of a script: the stream ends with an error, with details where there is a
    reason.
    """
    status = status_pb2.Status(code=code, message="as scripted")
    details = [error_details_pb2.ErrorInfo(reason=reason, domain="cbrgateway")] if reason else []
    if retry_delay_s is not None:
        details.append(error_details_pb2.RetryInfo())
        details[-1].retry_delay.FromNanoseconds(round(retry_delay_s * 1e9))
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


class Player(TaskServiceServicer):
    """`requests`: one for each stream that was opened.

    Responses get the sequence and tokens `<stream>.<sequence>`, streams counted from 1.
    """

    def __init__(self):
        self.scripts = []
        self.requests = []

    async def WatchTasks(self, request, context):  # noqa: N802 - its name in the proto
        self.requests.append(request)
        number, sequence = len(self.requests), 0
        for step in self.scripts.pop(0):
            if step == HANG:
                await asyncio.Event().wait()
            elif step == HOLE:
                sequence += 1
            elif isinstance(step, status_pb2.Status):
                await context.abort_with_status(rpc_status.to_status(step))
            else:
                sequence += 1
                yield task_pb2.WatchTasksResponse(
                    sequence=sequence,
                    resume_token=f"{number}.{sequence}",
                    **{step.WhichOneof("event"): one(step)},
                )

    @property
    def tokens(self):
        return [request.resume_token for request in self.requests]


def one(response):
    return getattr(response, response.WhichOneof("event"))


@contextlib.asynccontextmanager
async def playing():
    """The player, and a Gateway for its address."""
    server = grpc.aio.server()
    player = Player()
    add_TaskServiceServicer_to_server(player, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield player, Gateway(f"127.0.0.1:{port}", "a-key", plaintext=True)
    finally:
        await server.stop(0)


NOT_FOUND, EXPIRED, ABORTED = code_pb2.NOT_FOUND, code_pb2.OUT_OF_RANGE, code_pb2.ABORTED
