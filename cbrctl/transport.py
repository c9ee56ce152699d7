"""How calls reach a gateway: the one seam between commands and what carries them.

Requests and answers are plain data, as JSON has it, with the field names of the protos: whole
numbers are numbers, times are text in RFC 3339, enums are the names of their values. Fields that
are not set and always have a value are there with it.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from cbrgateway.v1.task_pb2 import WatchTasksRequest, WatchTasksResponse

    from cbrctl.contexts import Context

Data = Mapping[str, Any]


class Transport(Protocol):
    """Raises Refusal for calls that fail, and ValueError for a request that cannot be sent."""

    def call(self, rpc: str, request: Data) -> dict[str, Any]:
        """The answer of an RPC, `Service/Method`."""

    def stream(self, rpc: str, request: Data) -> Iterator[dict[str, Any]]:
        """The answers of a streaming RPC, as they come."""

    def watch(
        self,
        request: "WatchTasksRequest",
        reconnect_timeout_s: float,
        timeout_s: float | None = None,
    ) -> "Iterator[WatchTasksResponse]":
        """The events of tasks, through cuts and restarts of the gateway. Raises TimeoutError after
        `timeout_s`.
        """

    def close(self) -> None:
        """Ends the connection."""


def connect(context: "Context", deadline_s: float | None = None) -> Transport:
    """The way to the context's gateway. Nothing is sent yet.

    `deadline_s`: of each call and stream; None: what the Python client gives it. Raises ValueError
    for a file or a credential that cannot be used.

    What carries calls is loaded here and not before, since that is most of what a command costs.
    """
    if not context.plaintext:
        from cbrctl.certificates import check

        check(context)
    from cbrctl.over_http2 import OverHttp2, can_reach

    if can_reach(context):
        return OverHttp2(context, deadline_s)
    from cbrctl.over_grpc import OverGrpc

    return OverGrpc(context, deadline_s)
