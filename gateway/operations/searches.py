"""What searches for the tasks of several services' changes have in common."""

from typing import Final

from cbrgateway.v1 import task_pb2

REPLICATIONS: Final = (task_pb2.TASK_TYPE_REPLICATION, task_pb2.TASK_TYPE_COPY)


def ids(*found: str | None) -> tuple[str, ...]:
    """Those that an answer names."""
    return tuple(each for each in found if each)
