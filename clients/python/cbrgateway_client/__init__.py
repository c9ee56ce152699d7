"""What every Python caller of CBR Gateway would otherwise write for itself.

Gateway     channels, for asyncio and without: TLS, credential, deadlines, repeats, a request_id for
            every change
CallError   what a refusal says, unpacked; its Kind says who ended the call
retry_when_limited   calls again after the delay that a limit asks for
watch_tasks follows tasks through cuts and restarts of the gateway
wait, run_and_wait   wait for work: Ended, or TaskFailed with each Failure
pages, rows go through a list, whichever it is

`cbrgateway_client.aio` has twins of the functions for asyncio.
The calls themselves are those of the generated stubs, and all names of the API can be imported from
`cbrgateway.v1`.
"""

from cbrgateway_client.blocking import (
    pages,
    retry_when_limited,
    rows,
    run_and_wait,
    wait,
    watch_tasks,
)
from cbrgateway_client.errors import CallError, Kind
from cbrgateway_client.gateway import Gateway
from cbrgateway_client.outcome import Ended, Failure, TaskFailed

__all__ = [
    "CallError",
    "Ended",
    "Failure",
    "Gateway",
    "Kind",
    "TaskFailed",
    "pages",
    "retry_when_limited",
    "rows",
    "run_and_wait",
    "wait",
    "watch_tasks",
]
