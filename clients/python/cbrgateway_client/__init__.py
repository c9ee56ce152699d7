"""What every Python caller of CBR Gateway would otherwise write for itself.

Gateway     channels, for asyncio and without: TLS, credential, deadlines, repeats, a request_id for every change
CallError   what a refusal says, unpacked
watch_tasks follows tasks through cuts and restarts of the gateway; `cbrgateway_client.aio.watch_tasks` is its twin for asyncio

The calls themselves are those of the generated stubs, `cbrgateway.v1`.
"""

from cbrgateway_client.blocking import watch_tasks
from cbrgateway_client.errors import CallError
from cbrgateway_client.gateway import Gateway

__all__ = ["CallError", "Gateway", "watch_tasks"]
