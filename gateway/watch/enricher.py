"""What the gateway adds to a task of CBR: which submission started it, and why it failed."""

from collections.abc import Callable

from cbrgateway.v1 import task_pb2
from google.protobuf.message import Message
from google.rpc import status_pb2

from gateway.errors import GatewayError
from gateway.watch.failure import failure_of


class TaskEnricher:
    """`submission_of`: from project and task id to the submission's id, empty where it is not
    known; `status_of`: the form that errors have.
    """

    def __init__(
        self,
        submission_of: Callable[[str, str], str],
        status_of: Callable[[GatewayError], status_pb2.Status],
    ) -> None:
        self._submission_of = submission_of
        self._status_of = status_of

    def add(self, project: str, task: task_pb2.Task) -> None:
        task.submission_id = self._submission_of(project, task.id)
        failure = failure_of(task)
        if failure is not None:
            task.failure.CopyFrom(self._status_of(failure))

    def add_to_answer(self, project: str, answer: Message) -> None:
        """To the tasks in an answer of GetTask or ListTasks."""
        if isinstance(answer, task_pb2.GetTaskResponse):
            self.add(project, answer.task)
        elif isinstance(answer, task_pb2.ListTasksResponse):
            for task in answer.tasks:
                self.add(project, task)
