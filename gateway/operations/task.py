"""TaskService."""

from typing import Final

from cbrgateway.v1 import task_pb2

from gateway.upstream.amounts import Metric
from gateway.upstream.traits import Traits

WATCH_TASKS: Final = Traits[task_pb2.WatchTasksRequest, task_pb2.WatchTasksResponse](
    rpc="TaskService/WatchTasks",
    slots=(Metric.OPEN_STREAMS,),
)

WAIT_TASK: Final = Traits[task_pb2.WaitTaskRequest, task_pb2.WaitTaskResponse](
    rpc="TaskService/WaitTask",
    slots=(Metric.OPEN_STREAMS,),
)
