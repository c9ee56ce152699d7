"""What CBR shows of a change: candidates for its tasks, its time, and whether an object is gone."""

import math
from typing import Final

from cbrgateway.v1 import task_pb2
from google.protobuf.message import Message

from gateway.changes.correlation import ALWAYS
from gateway.changes.record import OperationDetail
from gateway.upstream.reader import UpstreamReader
from gateway.upstream.task_search import Search, Task

_GRAIN_S: Final = 60.0
"""Changes that began together find their tasks in one list."""


def search_of(
    reader: UpstreamReader, rpc: str, trace: OperationDetail, answer: Message | None = None
) -> Search:
    """What the tasks of an operation look like. `answer`: None where it is not known."""
    binding = reader.catalog[rpc]
    assert binding.traits.search is not None, rpc
    return binding.traits.search(binding.request_type.FromString(trace.request), answer)


async def listed_since(
    reader: UpstreamReader, project: str, began: float
) -> tuple[list[Task], bool]:
    """All tasks of a project since that moment by CBR's clock, or a little longer, and whether all
    of them could be understood.

    Raises GatewayError, and KeyError for a project that is not served.
    """
    wanted = task_pb2.ListTasksRequest()
    if began != ALWAYS:
        wanted.start_time.seconds = int(began // _GRAIN_S * _GRAIN_S)
    return await reader.understood(wanted, task_pb2.Task, project)


def age_s(reader: UpstreamReader, trace: OperationDetail, otherwise_s: float) -> float:
    """How long ago a change was sent, at least. `otherwise_s`: where CBR's time is not known."""
    clock = reader.clock(trace.project)
    now, sent = clock.now(), clock.of_today(trace.sent, trace.accepted)
    return otherwise_s if now is None or sent is None else now.earliest - sent.latest


def found_at(reader: UpstreamReader, project: str) -> float:
    """Later than everything where CBR's time is not known.

    Two such moments of one process are in their order, however little is known of it.
    """
    now = reader.clock(project).now()
    return math.inf if now is None else now.earliest


async def gone(reader: UpstreamReader, rpc: str, trace: OperationDetail) -> bool:
    """Whether what a change was to delete is no longer there; False for all other changes.

    Raises GatewayError, and KeyError as `listed_since`.
    """
    binding = reader.catalog[rpc]
    shown_by = binding.traits.gone
    if shown_by is None:
        return False
    asked = shown_by.request(binding.request_type.FromString(trace.request))
    return await reader.read(asked, shown_by.response, trace.project) is None
