"""What every Python caller of CBR Gateway would otherwise write for itself.

Gateway     channels, for asyncio and without: TLS, credential, deadlines, repeats, a request_id for
            every change
CallError   what a refusal says, unpacked; its Kind says who ended the call
retry_when_limited   calls again after the delay that a limit asks for
watch_tasks follows tasks through cuts and restarts of the gateway

`cbrgateway_client.aio` has twins of the last two for asyncio.
The calls themselves are those of the generated stubs, `cbrgateway.v1`.
"""

from cbrgateway_client.blocking import retry_when_limited, watch_tasks
from cbrgateway_client.errors import CallError, Kind
from cbrgateway_client.gateway import Gateway

__all__ = ["CallError", "Gateway", "Kind", "retry_when_limited", "watch_tasks"]
