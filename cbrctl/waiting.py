"""Following work to its end: tasks as they run, and what came of them."""

import sys
from typing import TYPE_CHECKING, Any, TextIO

from cbrctl.failures import NOT_ALL_WELL, Failed
from cbrctl.reports import warn
from cbrctl.transport import Transport

if TYPE_CHECKING:
    from cbrgateway.v1.task_pb2 import WatchTasksRequest

    from cbrctl.bars import Bars
    from cbrctl.progress import Lines

RECONNECT_TIMEOUT_S = 60.0


def follow(
    transport: Transport,
    submission: dict[str, Any] | None,
    *,
    wait: bool,
    timeout_s: float | None = None,
) -> None:
    """With `wait` to the end of the work, else what to call for that. Raises Failed if not all of
    it has succeeded.
    """
    if not submission:
        warn("The gateway could not record the work: look for it with `cbrctl tasks list`.")
        return
    further = f"cbrctl tasks watch --submission {submission['id']}"
    if not wait:
        warn(f"Follow the work: {further}")
        return
    from cbrgateway.v1 import task_pb2

    wanted = task_pb2.WatchTasksRequest(
        filter=task_pb2.TaskFilter(submission_ids=[submission["id"]]), end_when_all_terminal=True
    )
    watch(transport, wanted, out=sys.stderr, timeout_s=timeout_s, further=further)


def watch(
    transport: Transport,
    wanted: "WatchTasksRequest",
    *,
    out: TextIO,
    as_json: bool = False,
    reconnect_timeout_s: float = RECONNECT_TIMEOUT_S,
    timeout_s: float | None = None,
    further: str = "call again",
) -> None:
    """Shows all events, and what came of them. Raises Failed if not all tasks have succeeded.

    `further`: how the work can be followed after `timeout_s`.
    """
    from cbrctl.progress import Tally

    tally, view = Tally(), _view(out)
    try:
        with view:
            for event in transport.watch(wanted, reconnect_timeout_s, timeout_s):
                tally.count(event)
                if as_json:
                    _print_json(event, out)
                else:
                    view.show(event)
    except TimeoutError as error:
        raise Failed(
            f"Not all has ended in {timeout_s:g} s ({tally.summary()}). The work goes on; to follow"
            f" it further: {further}",
            NOT_ALL_WELL,
        ) from error
    if not as_json:
        print(tally.summary(), file=out)
    if not tally.all_succeeded:
        raise Ended


class _Ended(Failed):
    """Everything has been said already."""

    def __init__(self) -> None:
        super().__init__("", NOT_ALL_WELL)

    def show(self, file: Any = None) -> None:  # noqa: ANN401 - as click has it
        """Nothing."""


Ended = _Ended()


def _view(out: TextIO) -> "Lines | Bars":
    """Bars where somebody looks, if the extra `bars` is installed."""
    from cbrctl.progress import Lines

    if out.isatty():
        try:
            from rich.console import Console

            from cbrctl.bars import Bars
        except ImportError:
            return Lines(out)
        return Bars(Console(file=out))
    return Lines(out)


def _print_json(event: Any, out: TextIO) -> None:  # noqa: ANN401 - a WatchTasksResponse
    import json

    # The kinds of details that an error inside an event may hold must be known to be printed.
    from google.protobuf import json_format
    from google.rpc import error_details_pb2  # noqa: F401

    found = json_format.MessageToDict(event, preserving_proto_field_name=True)
    print(json.dumps(found, ensure_ascii=False), file=out, flush=True)
