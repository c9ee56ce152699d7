"""What a watch remembers between its streams, and what it does when one ends.

No input and no output: `blocking` and `aio` have those.

| the stream ended with | then | |---|---| | OK and `stream_end` ALL_TERMINAL | the watch is over |
| OK and another `stream_end` | a new stream with the token, after `retry_delay` | | nothing,
UNAVAILABLE, ABORTED, CANCELLED, silence, a hole in `sequence` | a new stream with the token, after
a growing pause | | RESOURCE_EXHAUSTED, when the watch has a token | the same: the places of lost
streams are still taken for a while | | RESOURCE_EXHAUSTED with OVERLOADED | the same, after the
gateway's delay at least | | INTERNAL or UNKNOWN that is not from the gateway | the same:
something in between broke the stream | | OUT_OF_RANGE, when the watch has a token | a `gap` for the
caller, and a new stream that begins with a snapshot | | anything else, or failures alone for longer
than `reconnect_timeout_s` | the error is raised |
"""

import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc
from cbrgateway.v1 import task_pb2

from cbrgateway_client.errors import CallError
from cbrgateway_client.retry import seconds

_CUT: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.CANCELLED}
)
_FROM_BETWEEN: Final = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN})
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 20.0
_DEFAULT_HEARTBEAT_S: Final = 20.0
_LONGEST_HEARTBEAT_S: Final = 3600.0
"""The gateway refuses one that is longer, and any that is not positive."""
_MISSED_HEARTBEATS: Final = 2.5
_MAX_REMEMBERED: Final = 10_000
"""Tasks whose last revision is known. A task that was forgotten may be told twice."""


@dataclass(frozen=True, slots=True)
class Again:
    """Open a new stream after `delay_s`. `gap`: tell the caller first, if it is set."""

    delay_s: float
    gap: task_pb2.WatchTasksResponse | None = None


class Resumption:
    """One watch over all its streams: `opened`, `take` for each response, then `ended`, and from
    the start again.
    """

    def __init__(
        self,
        request: task_pb2.WatchTasksRequest,
        reconnect_timeout_s: float,
        timeout_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._request = task_pb2.WatchTasksRequest()
        self._request.CopyFrom(request)
        self._reconnect_timeout_s = seconds("reconnect_timeout_s", reconnect_timeout_s)
        self._clock, self._jitter = clock, jitter
        self._failing_since = clock()
        """When the first of the failures was that no event has followed."""
        allowed_s = math.inf if timeout_s is None else seconds("timeout_s", timeout_s)
        self._ends_at = clock() + allowed_s
        self._failures = 0
        self._sequence = 0
        self._end: task_pb2.StreamEnd | None = None
        self._revisions: OrderedDict[str, int] = OrderedDict()

    @property
    def idle_timeout_s(self) -> float:
        """How long to wait for the next event: as long as a healthy stream can be silent at most,
        and not longer than the watch may take.
        """
        return min(self._silence_s, self._left_s())

    def silent(self) -> CallError:
        """What it means that no event came for `idle_timeout_s`."""
        if self._left_s() > 0:
            return lost(f"no sign of life for {self._silence_s:g} s")
        return CallError(
            grpc.StatusCode.DEADLINE_EXCEEDED, None, None, "The time of the watch is over."
        )

    @property
    def _silence_s(self) -> float:
        own_s = self._request.heartbeat_interval.ToTimedelta().total_seconds()
        usable = 0 < own_s <= _LONGEST_HEARTBEAT_S
        return _MISSED_HEARTBEATS * (own_s if usable else _DEFAULT_HEARTBEAT_S)

    def _left_s(self) -> float:
        return max(0.0, self._ends_at - self._clock())

    def opened(self) -> task_pb2.WatchTasksRequest:
        """The request of the next stream."""
        self._sequence, self._end = 0, None
        return self._request

    def take(self, response: task_pb2.WatchTasksResponse) -> bool:
        """Whether the response is news for the caller.

        Raises CallError if one before it is missing.
        """
        if response.sequence != self._sequence + 1:
            raise lost(f"event {self._sequence + 1} is missing, {response.sequence} came instead")
        self._sequence = response.sequence
        self._failures = 0
        if response.resume_token:
            self._request.resume_token = response.resume_token
        kind = response.WhichOneof("event")
        if kind == "stream_end":
            self._end = response.stream_end
            return False
        if kind == "gap":  # the snapshot that follows is told whole
            self._revisions.clear()
        task = (
            response.snapshot_task
            if kind == "snapshot_task"
            else getattr(response, kind).task
            if kind in {"update", "terminal"}
            else None
        )
        return task is None or self._is_new(task)

    def ended(self, error: CallError | None) -> Again | None:
        """What follows the end of a stream; None: nothing, the watch is over.

        Raises the error that ends it.
        """
        if error is None and self._end is not None:
            if self._end.reason == task_pb2.STREAM_END_REASON_ALL_TERMINAL:
                return None
            delay_s = self._end.retry_delay.ToTimedelta().total_seconds()
            return Again(min(delay_s, self._left_s()))
        error = error or lost("the stream ended without `stream_end`")
        if error.code() is grpc.StatusCode.OUT_OF_RANGE and self._request.resume_token:
            self._request.resume_token = ""
            self._request.ClearField("include_snapshot")
            self._revisions.clear()
            return Again(0, task_pb2.WatchTasksResponse(gap=task_pb2.WatchGap(reason=f"{error}")))
        if not self._failures:
            self._failing_since = self._clock()
        failing_s = self._clock() - self._failing_since
        if not self._is_cut(error) or failing_s > self._reconnect_timeout_s:
            raise error
        self._failures += 1
        pause_s = self._jitter(
            0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10))
        )
        return Again(min(max(pause_s, error.retry_delay_s or 0), self._left_s()))

    def _is_new(self, task: task_pb2.Task) -> bool:
        if task.revision <= self._revisions.get(task.id, -1):
            return False
        self._revisions[task.id] = task.revision
        self._revisions.move_to_end(task.id)
        if len(self._revisions) > _MAX_REMEMBERED:
            self._revisions.popitem(last=False)
        return True

    def _is_cut(self, error: CallError) -> bool:
        if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return bool(self._request.resume_token) or error.reason_name == "OVERLOADED"
        return error.code() in _CUT or (error.code() in _FROM_BETWEEN and not error.reason_name)


def lost(what: str) -> CallError:
    """How a stream ends that does not tell its end."""
    return CallError(grpc.StatusCode.UNAVAILABLE, None, None, f"The stream was lost: {what}.")
